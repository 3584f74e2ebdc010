"""The one walk over JSON of unknown shape: whatever a reader of it may see as text, wherever it stands."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable
from typing import Any

from sidecar.formats.json_text import KEY, Path

_LONG_NUMBER = 10**6
"""Smaller numbers hold too few digits for a card, a phone or an account."""
_NUMBERS = frozenset({"embedding", "arguments"})
"""Members in which lists of whole numbers say what they say: vectors, and what a tool is called with."""
_NESTED = (list, dict)

WHOLE_NUMBERS = "whole_numbers"
_SHORT = 16
_NAMED_SO = re.compile(r"(?i)token|byte|char|code|^context$|(?:^|_)ids?$|Ids?$")


def scalars(value: Any, path: Path = (), known: Container[str] = ()) -> list[tuple[Path, str]]:
    """Keys, strings and long numbers below, in document order. A key in `known` is the protocol's word, not text."""
    found: list[tuple[Path, str]] = []
    stack: list[tuple[Any, Path]] = [(value, path)]
    while stack:
        here, at = stack.pop()
        match here:
            case str():
                found.append((at, here))
            case bool():
                pass
            case int() | float() if abs(here) >= _LONG_NUMBER and abs(here) != math.inf:
                found.append((at, str(here)))
            case list():
                below = [(item, (*at, index)) for index, item in enumerate(here) if item or item == ""]
                stack += reversed(below)
            case dict():
                for key, item in reversed(list(here.items())):
                    stack.append((item, (*at, key)))
                    if key not in known:
                        stack.append((key, (*at, key, KEY)))
            case _:
                pass
    return found


def take_unreadable(value: Any, keys: Container[str]) -> list[tuple[Path, str]]:
    """Members of these names and lists of whole numbers that may be tokens or bytes, at any depth, with a name for the
    reason. A short list is taken only by a name that says so: others number citations, pages or classes.

    Each becomes None in the value, so that nobody reads them as something else.
    """
    found: list[tuple[Path, str]] = []
    stack: list[tuple[Any, Path]] = [(value, ())]
    while stack:
        here, at = stack.pop()
        members: Iterable[tuple[Any, Any]] = ()
        if isinstance(here, list):
            members = enumerate(here)
        elif isinstance(here, dict):
            members = here.items()
        for key, item in members:
            if key in keys and item is not None and item != []:
                found.append(((*at, key), str(key)))
                here[key] = None
            elif not isinstance(item, _NESTED) or not item or key in _NUMBERS:
                continue
            elif _whole_numbers(item) and (len(item) > _SHORT or _named_so((*at, key))):
                found.append(((*at, key), WHOLE_NUMBERS))
                here[key] = None
            else:
                stack.append((item, (*at, key)))
    return found


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _named_so(path: Path) -> bool:
    """By the nearest key: lists of lists have none of their own."""
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    return _NAMED_SO.search(key) is not None
