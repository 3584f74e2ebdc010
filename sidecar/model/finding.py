"""What a check saw. A finding never holds text of the request or answer, only kinds and places."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Direction = Literal["", "request", "response"]
"""Of which body: checks don't know, the exchange does (sidecar/plan/trail.py)."""


class Action(IntEnum):
    """Ordered by strength: the strongest action of all findings wins."""

    __hash__ = int.__hash__  # enum's own is a Python function

    ALLOW = 0
    FLAG = 1
    REDACT = 2
    CUT = 3
    DENY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One hit: which check, what kind ("email", "instruction_override"), where, and what to do about it.

    location names a part of the document ("messages[0].content"), never its text.
    """

    check: str
    kind: str
    action: Action
    location: str = ""
    direction: Direction = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replace text[start:end] of one text part by `replacement`; made by redacting checks."""

    start: int
    end: int
    replacement: str
