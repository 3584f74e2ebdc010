"""What stands across the blocks of a streamed answer that clients show as one text: its content blocks, its messages.

A stage of each block's pipe (sidecar/checks/pipe.py), behind the checks that judge the block alone. It keeps the block's
beginning back until nothing that began in an earlier block can end in it. What is found across is no block's own, so
what would be redacted there cuts the answer, as it denies a whole one (sidecar/checks/joined_parts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.checks.base import Match, SpanCheck
from sidecar.checks.spans import done
from sidecar.model.finding import Action, Finding

MOST: Final = 4_096
"""Characters of the blocks before that a match may begin in."""
_MOST_PIECES: Final = 512
_LONG_PIECE: Final = 256
"""Characters from which on a piece is no token of a model: so many of those would fill the memory."""
GLUES: Final = ("", "\n")
"""What clients put between two blocks."""


class JoinedBlocks:
    """The blocks of one text that have ended: their last characters, as the checks left them."""

    def __init__(self, checks: Sequence[SpanCheck], glues: Sequence[str] = GLUES) -> None:
        self.checks = checks
        self._glues = glues
        self.before: dict[str, str] = {}
        """By what is put between blocks."""

    def ended(self, text: str) -> None:
        """A block has, which said this last."""
        for glue in self._glues if text else ():
            known = self.before.get(glue)
            self.before[glue] = text if known is None else f"{known}{glue}{text}"[-MOST:]


@dataclass(frozen=True, slots=True)
class _Border:
    """One check between what was said before a block and the block."""

    check: SpanCheck
    known: str

    def look(self, text: str, *, end: bool) -> tuple[Match | None, bool]:
        """A match across the border, by the block's text so far, and whether none can come any more."""
        whole, border = self.known + text, len(self.known)
        settled = len(whole)
        if not end:
            settled = max(settled - self.check.max_match + 1, self.check.settled(whole))
        for match in self.check.matches(whole):
            if match.start >= min(settled, border):
                break
            if match.end > border:
                return match, True
        return None, settled >= border


class BorderStage:
    """One block's way past its border."""

    __slots__ = ("_blocks", "_flown", "_found", "_open", "_said", "_shadow", "_text", "held")

    def __init__(self, blocks: JoinedBlocks, *, shadow: bool) -> None:
        self.held = ""
        self._blocks = blocks
        self._shadow = shadow
        self._open = [
            _Border(check, f"{known}{glue}"[-(check.max_match + check.context) :])
            for glue, known in blocks.before.items()
            for check in blocks.checks
        ]
        self._text = ""
        """Of the block, as long as a border is open."""
        self._flown = 0
        """So many of its characters."""
        self._said: list[str] = []
        """What flowed last, piece by piece: joining them each time would copy all for every piece."""
        self._found: list[tuple[SpanCheck, Match]] = []

    @property
    def open(self) -> bool:
        """Whether something that began before may still end here."""
        return bool(self._open)

    def feed(self, text: str, *, end: bool) -> tuple[str, Sequence[Match], bool]:
        """As a stage of one check does: what flows on, what is certain now, and whether it ends the answer."""
        found: Sequence[Match] = ()
        if self._open:
            text, found, blocked = self._at_border(text, end=end)
            if blocked:
                return "", found, True
        said = self._said
        said.append(text)
        if end or len(said) > _MOST_PIECES or len(text) > _LONG_PIECE:
            said[:] = ["".join(said)[-MOST:]]
            if end:
                self._blocks.ended(said[0])
        return text, found, False

    def findings(self, matches: Sequence[Match], location: str) -> list[Finding]:  # noqa: ARG002 - it knows whose they are
        """Of what `feed` found last."""
        return [
            Finding(check=check.name, kind=match.kind, action=_across(check, match), location=location)
            for check, match in self._found
        ]

    def _at_border(self, text: str, *, end: bool) -> tuple[str, Sequence[Match], bool]:
        self._text += text
        self._found, still = [], []
        for border in self._open:
            match, passed = border.look(self._text, end=end)
            if match is not None:
                self._found.append((border.check, match))
            elif not passed:
                still.append(border)
        self._open = still
        found = [match for _, match in self._found]
        if not self._shadow and any(_across(*one) >= Action.CUT for one in self._found):
            self.held = ""
            return "", found, True
        waits = not self._shadow and any(border.check.action > Action.FLAG for border in still)
        flows = "" if waits and not end else self._text[self._flown :]
        self._flown += len(flows)
        self.held = self._text[self._flown :]
        return flows, found, False


def _across(check: SpanCheck, match: Match) -> Action:
    action = done(check.action, match)
    return Action.CUT if action is Action.REDACT else action
