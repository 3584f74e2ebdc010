"""What a content check is: a pure function over the text of one part, and a streaming form with bounded hold-back.

Checks never see bytes, headers or the network. They are built once per plan (catalog.py) and hold no request state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sidecar.formats.base import TextPart
from sidecar.model.finding import Edit, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What one check says of one text part. Edits are applied from the end backwards and do not overlap."""

    findings: tuple[Finding, ...] = ()
    edits: tuple[Edit, ...] = ()


CLEAN = Inspection()


class TextCheck(Protocol):
    """A sanitizer or detector."""

    name: str
    max_match: int
    """L: no match is longer than this many characters, so a stream needs to hold back at most L-1 of them."""

    def inspect(self, part: TextPart) -> Inspection: ...


class ScoreCheck(Protocol):
    """A validator of a classic model's scores."""

    name: str

    def adjust(self, value: float) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSet:
    """The content checks of one direction, in policy order."""

    texts: Sequence[TextCheck] = field(default=())
    scores: Sequence[ScoreCheck] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.texts or self.scores)
