"""Virtual patches: JSON bodies that hold what a known vulnerability of the model's engine needs are refused.

The rules are data (bartizan/policy/engines/patches.toml) and travel in the guard plan. The body was decoded strictly
before, so that engine and rules read the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from re import _parser  # type: ignore[attr-defined]  # what re's own compiler begins with, not in its stubs
from typing import Any

from bartizan.policy.engines import PatchRule

_TYPES = frozenset(
    {"string", "number", "integer", "boolean", "object", "array", "null"}
    | {"function", "custom", "json_schema", "json_object", "text", "structural_tag"}
)
"""JSON Schema's types, and what tools and response formats call themselves."""
_MOST_CHOICES = 128
MAX_PATTERN = 16_384
"""Characters of a pattern that is looked at."""


class Patches:
    """All rules of one plan."""

    def __init__(self, rules: Sequence[PatchRule]) -> None:
        self._rules = tuple(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def refuses(self, body: bytes) -> str | None:
        """The id of the first rule that the body breaks."""
        if not body:
            return None
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return None  # not JSON: the format decided about it
        broken = (rule.id for rule in self._rules if any(_bad(rule, found) for found in _values(rule, value)))
        return next(broken, None)


def _values(rule: PatchRule, body: Any) -> Iterator[Any]:
    stack = [body]
    if rule.below:
        stack = [body[name] for name in rule.below if name in body] if isinstance(body, dict) else []
    if not rule.keys:
        yield from stack
        return
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            yield from (item for key, item in here.items() if key in rule.keys)
            stack.extend(here.values())
        elif isinstance(here, list):
            stack.extend(here)


def _bad(rule: PatchRule, value: Any) -> bool:
    match rule.refuse:
        case "present":
            return value is not None
        case "empty":
            return value in ("", []) or (isinstance(value, list) and "" in value)
        case "invalid_regex":
            return isinstance(value, str) and not _compiles(value)
        case "unknown_type":
            names = value if isinstance(value, list) else [value]
            return any(isinstance(name, str) and name not in _TYPES for name in names)
        case "above_128":
            return value is not None and (not isinstance(value, int) or value > _MOST_CHOICES)


def _compiles(pattern: str) -> bool:
    """Whether it is a regular expression, told by parsing it: to compile wide classes costs milliseconds for each.

    One that is too long to be looked at counts as none.
    """
    if len(pattern) > MAX_PATTERN:
        return False
    try:
        return not _looks_behind_far(_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError, Warning):
        return False


def _looks_behind_far(parsed: Any) -> bool:
    """Whether it looks behind by a width that is not fixed: the one thing that only the compiler refuses."""
    stack = [parsed]
    while stack:
        here = stack.pop()
        if isinstance(here, _parser.SubPattern):
            stack.extend(here.data)
        elif isinstance(here, list):
            stack.extend(here)
        elif isinstance(here, tuple):
            match here:
                case (_parser.ASSERT | _parser.ASSERT_NOT, (-1, behind)):
                    least, most = behind.getwidth()
                    if least != most:
                        return True
                case _:
                    pass
            stack.extend(here)
    return False
