"""Finds names of people, places and organisations: they have no form, so a model is asked (sidecar/checks/names).

A text is read in segments (sidecar/checks/segments.py), each by itself, so that a stream is judged as the whole text is.
What the model did not read is a finding of its own, never a pass without a word. L is the longest segment and one more.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

from bartizan.policy.checks import Pii
from sidecar.checks.base import CLEAN, Inspection, Match
from sidecar.checks.child.process import ChildFailed
from sidecar.checks.classifier.runtime import MOST_CHARS
from sidecar.checks.detectors.pii_treatment import Treatment
from sidecar.checks.names.messages import Answer
from sidecar.checks.names.process import NamesProcess
from sidecar.checks.scope import Scope
from sidecar.checks.segments import LONGEST, complete, segments
from sidecar.checks.spans import ACTIONS, inspection
from sidecar.formats.base import DEFINITION, TextPart
from sidecar.model.finding import Action

FAILED: Final = "names_unread"
_LETTER: Final = re.compile(r"[^\W\d_]")
_STANDS_FOR: Final = re.compile(r"\[[A-Z_]+(?::[a-z2-7]+)?\]|<[A-Z_]+_[0-9]+>")
"""What takes the place of other personal data, and of names in a text that is read again."""


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
        try:
            answer = self._asked.find([text[begin:end] for begin, end in places])
        except ChildFailed:
            answer = Answer(names=(), read=0)
        found = list(self._names(text, places, answer))
        if answer.read < len(places):
            found.append(replace(unread, start=places[answer.read][0]))
        elif unread.start < unread.end:
            found.append(unread)
        return found

    def settled(self, text: str) -> int:
        return max((end for _, end in complete(text)), default=0)

    def _names(self, text: str, places: list[tuple[int, int]], answer: Answer) -> Iterator[Match]:
        for name in answer.names:
            offset, _ = places[name.segment]
            start, end = offset + name.start, offset + name.end
            value = text[start:end]
            if name.kind not in self._types or self.treatment.allows(value) or _is_ours(text, start, end):
                continue
            instead = self.treatment.instead(name.kind, value) or f"[{name.kind.upper()}]"
            yield Match(
                start=start,
                end=end,
                kind=name.kind,
                replacement=instead,
                rule=f"model/{name.kind}",
                score=name.score,
            )


def build(config: Pii) -> NamesCheck:
    """Raises ValueError like NamesCheck, and ResourceRejected where no model is installed."""
    return NamesCheck(config, NamesProcess(config.names))


def _is_ours(text: str, start: int, end: int) -> bool:
    """Whether this is a part of what stands for personal data, or such a sign a part of it."""
    around = text[max(0, start - 40) : end + 40]
    first, last = min(start, 40), min(start, 40) + end - start
    return any(sign.start() < last and first < sign.end() for sign in _STANDS_FOR.finditer(around))
