"""How much work a pattern or a schema makes for an engine that compiles it to an automaton: estimates, rather more.

Engines build a state for each repetition that is written out (`a{1000}` is a thousand), so counts multiply when they
are nested, and so do references to one definition. Pure and linear in the length of what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

MOST = 10**9
"""Where counting ends."""
_DEEPEST = 150
"""Levels, references followed: a chain that is longer counts as MOST."""
_LENGTHS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_REPEATED = {
    **dict.fromkeys(("items", "contains", "unevaluatedItems"), ("minItems", "maxItems")),
    **dict.fromkeys(("additionalProperties", "patternProperties"), ("minProperties", "maxProperties")),
}
"""Members that are written out as often as their neighbours say."""
_TIMES = r"\{\s*+(?P<least>[0-9]*+)\s*+,?\s*+(?P<most>[0-9]*+)\s*+\}|~\s*+(?P<few>[0-9]++)(?:\.\.(?P<many>[0-9]++))?"
"""As engines take them: with zeros in front, with blanks (Rust), as Lark's grammars write them."""
_NO_CLASS = rf"\\.|{_TIMES}|[()|]|[*+?]|."
_TOKEN = re.compile(rf"\[\^?\]?(?:\\.|[^\]\\])*\]|{_NO_CLASS}", re.DOTALL)
_TOKEN_AFTER_OPEN = re.compile(_NO_CLASS, re.DOTALL)
_COMMENTS = re.compile(r"\?(?:#|[a-zA-Z]*x)")
"""Behind an open bracket: comments may then stand between a repetition and what it repeats."""


def pattern_states(pattern: str) -> int:
    """States of a regular expression. Grammars are read the same: their repetitions are written the same."""
    total, last = [0], [0]
    """What each open group holds so far, and its last atom, which a repetition multiplies."""
    for token in _tokens(pattern):
        piece = token[0]
        if piece == "(":
            if _COMMENTS.match(pattern, token.end()):
                return MOST
            total.append(0)
            last.append(0)
        elif piece == ")" and len(total) > 1:
            inner = total.pop()
            last.pop()
            last[-1] = inner
            total[-1] += inner
        elif (times := _times(token)) is not None:
            total[-1] += last[-1] * (max(times, 1) - 1)
            last[-1] *= max(times, 1)
        elif piece.isspace():  # of a grammar: what repeats may stand behind it
            last[-1] = max(last[-1], 1)
            total[-1] += 1
        elif piece not in "|*+?":
            last[-1] = 1
            total[-1] += 1
        if total[-1] > MOST:
            return MOST
    return min(sum(total), MOST)


def _times(token: re.Match[str]) -> int | None:
    """How often it repeats what stands before it; None for one that does not."""
    if token["most"] is None and token["few"] is None:
        return None
    digits = (token["most"] or token["least"] or token["many"] or token["few"] or "1").lstrip("0")
    return MOST if len(digits) >= len(str(MOST)) else int(digits or 0)


def _tokens(pattern: str) -> Iterator[re.Match[str]]:
    """Where one class has no end, none after it has: to look for each one's end would be quadratic."""
    at, tokens = 0, _TOKEN
    while found := tokens.match(pattern, at):
        yield found
        at = found.end()
        if found[0] == "[":
            tokens = _TOKEN_AFTER_OPEN


class _Schema:
    """One walk over a schema: what a reference leads to and what a length repeats is written out, as engines do it."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[int, int] = {}
        """Sizes by the object; 0 while one is not counted yet, so that what refers to itself ends."""

    def size(self, here: Any, depth: int = 0) -> int:
        if depth > _DEEPEST:
            return MOST
        if not isinstance(here, list | dict):
            return 1
        if (known := self._known.get(id(here))) is not None:
            return known
        self._known[id(here)] = 0
        size = 1
        if isinstance(here, list):
            for item in here:
                size += self.size(item, depth + 1)
        else:
            for key, item in here.items():
                size += self._member(here, key, item, depth)
        self._known[id(here)] = size = min(size, MOST)
        return size

    def _member(self, here: dict[str, Any], key: str, item: Any, depth: int) -> int:
        if isinstance(item, int | float) and key in _LENGTHS:
            return int(min(abs(item), MOST))
        if isinstance(item, str):
            if key == "pattern":
                return pattern_states(item)
            return 1 + self.size(self._at(item), depth + 1) if key == "$ref" else 1
        times = max((_length(here.get(name)) for name in _REPEATED.get(key, ())), default=1)
        return self.size(item, depth + 1) * max(times, 1)

    def _at(self, reference: str) -> Any:
        """What a JSON pointer leads to; nothing where it leads elsewhere."""
        if not reference.startswith("#/"):
            return self._root if reference == "#" else None
        here = self._root
        for step in unquote(reference[2:]).split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(here, dict):
                here = here.get(name)
            elif isinstance(here, list) and name.isdecimal() and int(name[:9]) < len(here):
                here = here[int(name[:9])]
            else:
                return None
        return here


def _length(value: Any) -> int:
    return int(min(abs(value), MOST)) if isinstance(value, int | float) else 0


def schema_size(schema: Any) -> int:
    """Members and elements of a JSON schema, states of its patterns, and what its lengths and references write out."""
    return _Schema(schema).size(schema)
