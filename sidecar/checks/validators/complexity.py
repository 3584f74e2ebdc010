"""How much work a pattern or a schema makes for an engine that compiles it to an automaton: estimates, never less.

Engines build a state for each repetition that is written out (`a{1000}` is a thousand), so counts multiply when they
are nested. Pure and linear in the length of what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MOST = 10**9
"""Where counting ends."""
_NO_CLASS = r"\\.|\{(?P<least>\d{0,9}),?(?P<most>\d{0,9})\}|[()|]|[*+?]|."
_TOKEN = re.compile(rf"\[\^?\]?(?:\\.|[^\]\\])*\]|{_NO_CLASS}", re.DOTALL)
_TOKEN_AFTER_OPEN = re.compile(_NO_CLASS, re.DOTALL)


def pattern_states(pattern: str) -> int:
    """States of a regular expression. Grammars are read the same: their repetitions are written the same."""
    total, last = [0], [0]
    """What each open group holds so far, and its last atom, which a repetition multiplies."""
    for token in _tokens(pattern):
        piece = token[0]
        if piece == "(":
            total.append(0)
            last.append(0)
        elif piece == ")" and len(total) > 1:
            inner = total.pop()
            last.pop()
            last[-1] = inner
            total[-1] += inner
        elif token["most"] is not None:
            times = int(token["most"] or token["least"] or 1)
            total[-1] += last[-1] * (max(times, 1) - 1)
            last[-1] *= max(times, 1)
        elif piece not in "|*+?":
            last[-1] = 1
            total[-1] += 1
        if total[-1] > MOST:
            return MOST
    return min(sum(total), MOST)


def _tokens(pattern: str) -> Iterator[re.Match[str]]:
    """Where one class has no end, none after it has: to look for each one's end would be quadratic."""
    at, tokens = 0, _TOKEN
    while found := tokens.match(pattern, at):
        yield found
        at = found.end()
        if found[0] == "[":
            tokens = _TOKEN_AFTER_OPEN


def schema_size(schema: Any) -> int:
    """Members and elements of a JSON schema, states of its patterns, and what its length bounds write out."""
    size = 0
    stack = [schema]
    while stack and size < MOST:
        here = stack.pop()
        size += 1
        if isinstance(here, list):
            stack.extend(here)
        elif isinstance(here, dict):
            for key, item in here.items():
                if key == "pattern" and isinstance(item, str):
                    size += pattern_states(item)
                elif key in {"minItems", "maxItems", "minLength", "maxLength"} and isinstance(
                    item, int | float
                ):
                    size += int(min(abs(item), MOST))
                else:
                    stack.append(item)
    return min(size, MOST)
