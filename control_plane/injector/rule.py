"""One rule of admission, and how values are written into its CEL text. Used by rules.py and bypass_rules.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from control_plane.injector import names

Severity = Literal["high", "medium", "low"]
OPT_OUT: Final = (
    f'or keep the pod out: label {names.INJECT}: "false", images listed in {names.OPT_OUT_IMAGES}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`expression` is true for what may be admitted; `path` is where to look."""

    code: str
    path: str
    message: str
    hint: str
    expression: str
    severity: Severity = "high"


def cel_text(value: str) -> str:
    """A CEL string. Nothing here holds quotes; a backslash needs another one."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def cel_list(values: Iterable[str]) -> str:
    """A CEL list of strings."""
    return "[" + ", ".join(cel_text(each) for each in values) + "]"


def cel_map(values: Mapping[str, str]) -> str:
    """A CEL map of strings."""
    return "{" + ", ".join(f"{cel_text(key)}: {cel_text(value)}" for key, value in values.items()) + "}"
