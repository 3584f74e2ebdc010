"""Finds names of people, places and organisations: they have no form, so a model is asked (sidecar/checks/names).

A text is read in segments (sidecar/checks/segments.py), each by itself, so that a stream is judged as the whole text is.
The model reads full-width letters as plain ones, one for one. What it did not read is a finding of its own, never a pass
without a word. L is the longest segment and one more.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol, get_args

from bartizan.policy.checks import NameType, Pii, PiiType
from sidecar.checks.base import CLEAN, Inspection, Match
from sidecar.checks.child.process import ChildFailed
from sidecar.checks.classifier.runtime import MOST_CHARS
from sidecar.checks.detectors.pii_replacement import PSEUDONYM_SIGNS
from sidecar.checks.detectors.pii_treatment import Treatment
from sidecar.checks.names.messages import Answer, Name
from sidecar.checks.names.process import NamesProcess
from sidecar.checks.scope import Scope
from sidecar.checks.segments import LONGEST, complete, segments
from sidecar.checks.spans import ACTIONS, inspection
from sidecar.checks.typography import ascii_signs
from sidecar.formats.base import DEFINITION, TextPart
from sidecar.model.finding import Action

FAILED: Final = "names_unread"
_LETTER: Final = re.compile(r"[^\W\d_]")
_WORD: Final = re.compile(r"[^\W_](?:.*[^\W_])?", re.DOTALL)
_KINDS: Final = "|".join(kind.upper() for kind in (*get_args(PiiType), *get_args(NameType)))
STANDS_FOR: Final = re.compile(
    rf"\[(?:{_KINDS})(?::{PSEUDONYM_SIGNS})?\]|<(?:{_KINDS})_[1-9][0-9]{{0,3}}>"
    r"|\[(?:REDACTED|SECRET|LINK|MARKUP)\]"
)
"""What takes the place of other finds, and of names in a text that is read again: no other word in brackets does."""
_LONGEST_SIGN: Final = 40


class Asks(Protocol):
    """What answers: names.process.NamesProcess."""

    def start(self) -> None: ...

    def find(self, segments: Sequence[str]) -> Answer: ...


class NamesCheck:
    """SpanCheck of the chosen kinds of names. It stands behind the check of the same policy's data with a form."""

    name = "pii"
    context = 0
    max_match = LONGEST + 1
    piecewise = True
    asks = True

    def __init__(self, config: Pii, asked: Asks) -> None:
        """Raises ValueError for a pattern that is none."""
        self.treatment = Treatment(config)
        self.action = self.treatment.action
        self._types = config.name_types
        # a check that lets everything pass can't refuse for want of an answer: in a stream the text is gone
        self._failed = Action.FLAG if self.action is Action.FLAG else ACTIONS[config.names.on_failure]
        self._asked = asked

    @property
    def binds(self) -> bool:
        return self.treatment.binds

    def bound(self, scope: Scope) -> NamesCheck:
        check = copy.copy(self)
        check.treatment = self.treatment.bound(scope)
        return check

    def start(self) -> None:
        """Raises ResourceRejected when the model can't be used."""
        self._asked.start()

    def inspect(self, part: TextPart) -> Inspection:
        """Not of names of members and the like, nor of what an application defines its tools with."""
        if part.fixed or part.json or part.identifier or part.role == DEFINITION:
            return CLEAN
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        """Blocks up to the process' own deadline."""
        places = [
            (begin, end)
            for begin, end in segments(text[: start + MOST_CHARS], start)
            if _LETTER.search(text, begin, end)
        ]
        unread = Match(
            start=start + MOST_CHARS, end=len(text), kind=FAILED, replacement="", action=self._failed
        )
        if not places:
            return [unread] if unread.start < unread.end else []
        plain = ascii_signs(text)
        try:
            answer = self._asked.find([plain[begin:end] for begin, end in places])
        except ChildFailed:
            answer = Answer(names=(), read=0)
        found = list(self._names(text, plain, places, answer))
        if answer.read < len(places):
            found.append(replace(unread, start=places[answer.read][0]))
        elif unread.start < unread.end:
            found.append(unread)
        return found

    def settled(self, text: str) -> int:
        return max((end for _, end in complete(text)), default=0)

    def _names(self, text: str, plain: str, places: list[tuple[int, int]], answer: Answer) -> Iterator[Match]:
        for name in answer.names:
            if name.kind not in self._types:
                continue
            within = places[name.segment]
            start, end = within[0] + name.start, within[0] + name.end
            for left in _beside_ours(text, start, end, within):
                if (place := _word(text, *left)) is not None:
                    yield from self._match(text, plain, *place, name)

    def _match(self, text: str, plain: str, start: int, end: int, name: Name) -> Iterator[Match]:
        """As with data that has a form, only a token keeps the value as it was written."""
        value = plain[start:end]
        if self.treatment.allows(value):
            return
        if self.treatment.as_written:
            value = text[start:end]
        yield Match(
            start=start,
            end=end,
            kind=name.kind,
            replacement=self.treatment.instead(name.kind, value) or f"[{name.kind.upper()}]",
            rule=f"model/{name.kind}",
            score=name.score,
        )


def build(config: Pii) -> NamesCheck:
    """Raises ValueError like NamesCheck, and ResourceRejected where no model is installed."""
    return NamesCheck(config, NamesProcess(config.names))


def _beside_ours(text: str, start: int, end: int, within: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """What of a name in this segment is no part of what stands for a find: a model may take both for one word."""
    low, high = within
    for sign in STANDS_FOR.finditer(text, max(low, start - _LONGEST_SIGN), min(high, end + _LONGEST_SIGN)):
        if sign.start() >= end:
            break
        yield start, sign.start()
        start = max(start, sign.end())
    yield start, end


def _word(text: str, start: int, end: int) -> tuple[int, int] | None:
    """From the first letter or digit to the last, where letters are among them; None for a single Latin letter."""
    found = _WORD.search(text, start, end)
    if found is None or not _LETTER.search(text, *found.span()):
        return None
    return found.span() if len(found[0]) > 1 or found[0] > "\u02ff" else None
