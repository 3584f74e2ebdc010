"""A model's own errors inside of answers that are none by their status: stack traces in them stay inside.

Streams can tell of an error only so, and some servers answer 200 with one. judge.py looks at answers outside of 2xx.
"""

from __future__ import annotations

import re
from typing import Any

from sidecar.formats.json_text import KEY, Path, string_token
from sidecar.formats.walk import scalars

_TRACE = (
    r"Traceback \(most recent call last\)|File \\?\"[^\"\n]{1,300}\", line \d|\bat [\w.$<>]{1,200}\([\w$]{1,100}\.(?:java|kt|scala|js|ts):\d"
    r"|goroutine \d+ \[|panicked at |\.(?:cpp|cc|cu|h|rs|go):\d+[:)\s]|\bsite-packages/"
)
STACK_TRACE = re.compile(_TRACE.encode())
"""Of Python, Java and its kin, JavaScript, Go, Rust and C++."""
REPLACED = "The model answered with an error."
MODEL_ERROR = "model_error"
_STACK_TRACE = re.compile(_TRACE)
_PLACES: tuple[tuple[str, ...], ...] = (("error",), ("response", "error"))


def take_traces(value: Any) -> dict[Path, str]:
    """Strings of its `error` that hold a stack trace, with the JSON that takes their place; in the value it does so now."""
    found: list[Path] = []
    for place in _PLACES:
        holder: Any = value
        for step in place[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and place[-1] in holder:
            found += _traces(holder, place)
    return dict.fromkeys(found, string_token(REPLACED))


def _traces(holder: dict[str, Any], place: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for path, text in scalars(holder[place[-1]]):
        if path[-1:] != (KEY,) and _STACK_TRACE.search(text):
            here: Any = holder
            *above, last = (place[-1], *path)
            for step in above:
                here = here[step]
            here[last] = REPLACED
            found.append((*place, *path))
    return found
