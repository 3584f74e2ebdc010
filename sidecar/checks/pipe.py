"""One text stream of an answer on its way through the checks: a pipe of stages, one per check, in policy order.

A stage lets text go as soon as its check calls it settled: no match can begin there any more, whatever follows. So it
keeps at most L-1 characters, or up to 2L-2 while a match in them is waiting for its neighbourhood. Used by stream.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sidecar.checks.base import Match, SpanCheck, TextCheck
from sidecar.checks.escapes import Unescaped, matches, unescaped
from sidecar.checks.joined_blocks import MOST, BorderStage, JoinedBlocks
from sidecar.checks.quiet import LONGEST, Gate, gate_of
from sidecar.checks.spans import done
from sidecar.model.finding import Action, Finding

_MOST_PIECES: Final = 64
"""So many pieces are joined at once: a join for each would copy all of them for every piece."""


class Pipe:
    """The stages of one text stream. `written`: it is a JSON text, whose escapes stay whole."""

    def __init__(
        self,
        checks: Sequence[SpanCheck],
        location: str,
        *,
        shadow: bool,
        written: bool = False,
        blocks: JoinedBlocks | None = None,
        last: Sequence[SpanCheck] = (),
    ) -> None:
        """`blocks`: those before it of the text that clients make of it and them. `last`: checks behind their border."""

        def stages(chosen: Sequence[SpanCheck]) -> list[_Stage]:
            return [
                _Stage(check, passive=shadow or check.action <= Action.FLAG, written=written)
                for check in chosen
            ]

        border = [BorderStage(blocks, shadow=shadow)] if blocks is not None and blocks.checks else []
        first = stages(checks)
        self._stages: list[_Stage | BorderStage] = [*first, *border, *stages(last)]
        self._quiet: _Quiet | None = None
        if not written and not last and not any(stage.passive for stage in first):
            gate = gate_of(checks)
            self._quiet = None if gate is None else _Quiet(gate, first, border)
        self._location = location
        self.findings: list[Finding] = []
        self.blocked = False

    def feed(self, text: str, *, end: bool) -> str:
        """Text that left the last stage. After a blocking match only what stood before it."""
        if (quiet := self._quiet) is not None:
            if not end and (flows := quiet.feed(text)) is not None:
                return flows
            quiet.leave()
        for stage in self._stages:
            if not text and not end:
                break  # nothing came this far
            text, matches, blocked = stage.feed(text, end=end)
            if matches:
                self.findings += stage.findings(matches, self._location)
            if blocked:
                self.blocked = end = True
        return text


class _Quiet:
    """The stages of a pipe as one, as long as its text is quiet. All of them then have let go of it up to its last word."""

    __slots__ = (
        "_before",
        "_border",
        "_context",
        "_gate",
        "_most",
        "_past",
        "_stages",
        "held",
        "on",
    )

    def __init__(self, gate: Gate, stages: Sequence[_Stage], border: Sequence[BorderStage]) -> None:
        self._gate = gate
        self._stages = stages
        self._border = border
        self._context = max(stage.check.context for stage in stages)
        self._most = max(self._context, MOST)
        """So many characters of what flowed last are all that anybody asks for."""
        self._before = ""
        self._past: list[str] = []
        """What flowed since then."""
        self.on = False
        self.held = ""

    def feed(self, text: str) -> str | None:
        """What flows of a piece with which the text stays quiet; None for another one, which is not taken."""
        if len(text) > LONGEST or not (self.on or self._enter()):
            return None
        if self.held:
            text = self.held + text
        word = self._gate.passes(text)
        if word is None:
            return None
        self.held = text[word:]
        text = text[:word]
        past = self._past
        past.append(text)
        if len(past) > _MOST_PIECES:
            past[:] = ["".join(past)[-self._most :]]
        return text

    def leave(self) -> None:
        """Give each stage what it had by now, if it had been asked."""
        if not self.on:
            return
        past, held = "".join(self._past), self.held
        for border in self._border:
            border.feed(past, end=False)
        past = self._before + past
        for stage in self._stages:
            stage.resume(past, held)
            held = ""
        self.on = False

    def _enter(self) -> bool:
        """Whether the stages are where quiet text leaves them: nothing is held back but one word."""
        if any(border.open for border in self._border):
            return False
        held = past = ""
        for stage in reversed(self._stages):
            if not stage.calm or (held and stage.check.context):
                return False
            past = max(past, stage.context, key=len)
            held += stage.held
        if past and past[-1] not in " \n":
            return False
        self._before, self._past, self.held, self.on = past, [], held, True
        return True


class _Stage:
    """One check over one text stream: what it held back, and the context before it."""

    __slots__ = ("_look", "_piecewise", "_written", "calm", "check", "context", "held", "passive")

    def __init__(self, check: SpanCheck, *, passive: bool, written: bool = False) -> None:
        self.check = check
        self._look: Callable[[str, int], int | None] | None = (
            None if written else getattr(check, "calm", None)
        )
        self.calm = self._look is not None or not check.context
        self.passive = passive
        self._written = written
        self._piecewise = getattr(check, "piecewise", False)
        self.held = ""
        self.context = ""

    def feed(self, text: str, *, end: bool) -> tuple[str, Sequence[Match], bool]:
        """What flows on, the matches that are certain now, and whether one of them ends the answer."""
        check = self.check
        whole = self.context + self.held + text
        start = len(self.context)
        if self._look is not None:
            calm = self._look(whole, len(whole) - len(text) if self.calm else 0)
            self.calm = calm is not None
            if calm is not None:
                settled = len(whole) if end else max(start, calm)
                self._keep(whole, settled, check.context)
                return (text if self.passive else whole[start:settled]), (), False
        seen: Unescaped | None = None
        shown, begin = whole, start
        if self._written:
            seen, begin = unescaped(whole, start)
            shown = seen.text
        length = settled = len(shown)
        if not end:
            settled = max(begin, length - check.max_match + 1, check.settled(shown))
        if settled <= begin:
            self.held = whole[start:]
            return (text if self.passive else ""), (), False
        if self._piecewise:
            shown = shown[:settled]
            seen = seen and replace(seen, text=shown)
        found = check.matches(shown, begin) if seen is None else matches(check, seen, begin)
        if not found and seen is None:  # as nearly always
            self._keep(whole, settled, check.context)
            return (text if self.passive else whole[start:settled]), (), False
        if not self.passive and (ending := _ending(check.action, found, settled)):
            self.held = ""
            *before, last = _placed(ending, seen)
            return _redacted(whole, start, last.start, before), ending, True
        release = settled if end else self._release(found, settled, length)
        certain = _placed([match for match in found if match.end <= release], seen)
        release = release if seen is None else seen.at(release)
        flows = text if self.passive else _redacted(whole, start, release, certain)
        self._keep(whole, release, check.context if seen is None else 2 * check.context)
        return flows, certain, False

    def resume(self, past: str, held: str) -> None:
        """Go on behind a text in which it found nothing."""
        self.context = past[-context:] if (context := self.check.context) else ""
        self.held = held

    def findings(self, matches: Sequence[Match], location: str) -> list[Finding]:
        """Of what `feed` found."""
        name, action = self.check.name, self.check.action
        return [
            Finding(check=name, kind=match.kind, action=done(action, match), location=location)
            for match in matches
        ]

    def _keep(self, whole: str, release: int, context: int) -> None:
        """Up to `release` it flows; what must be known of it, and the rest, is kept."""
        self.context = whole[max(0, release - context) : release] if context else ""
        self.held = whole[release:]

    def _release(self, matches: Sequence[Match], settled: int, length: int) -> int:
        """Up to where text may flow: never inside a match, nor between two that were one tangle."""
        release = settled
        for match in reversed(matches):
            if match.start < release < match.end or (release < settled and match.end == release):
                release = match.start
        if length - release > 4 * self.check.max_match:
            # Overlaps without end: what is certain goes out redacted instead of growing here.
            return max((match.end for match in matches if match.start < settled), default=settled)
        return release


def _ending(action: Action, matches: Sequence[Match], settled: int) -> Sequence[Match]:
    """The first settled match that ends the answer, and those before it; none where none does."""
    for number, match in enumerate(matches):
        if match.start < settled and done(action, match) >= Action.CUT:
            return matches[: number + 1]
    return ()


def _placed(matches: Sequence[Match], seen: Unescaped | None) -> Sequence[Match]:
    """The same matches where they stand in the text as it is written."""
    if seen is None or seen.places is None:
        return matches
    return [replace(one, start=seen.at(one.start), end=seen.at(one.end)) for one in matches]


def _redacted(text: str, start: int, end: int, matches: Sequence[Match]) -> str:
    out: list[str] = []
    for match in matches:
        if match.action is not None:
            continue
        out += (text[start : match.start], match.replacement)
        start = match.end
    out.append(text[start:end])
    return "".join(out)


def span_check(check: TextCheck) -> SpanCheck:
    """Checks of answers must be able to follow a stream; the policy schema offers no others."""
    if not hasattr(check, "matches") or not hasattr(check, "settled"):
        raise TypeError(f"check {check.name} can't follow a stream")
    return check  # type: ignore[return-value]
