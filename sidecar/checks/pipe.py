"""One text stream of an answer on its way through the checks: a pipe of stages, one per check, in policy order.

A stage lets text go as soon as its check calls it settled: no match can begin there any more, whatever follows. So it
keeps at most L-1 characters, or up to 2L-2 while a match in them is waiting for its neighbourhood. Used by stream.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sidecar.checks.base import Match, SpanCheck, TextCheck
from sidecar.checks.escapes import Unescaped, matches, unescaped
from sidecar.checks.joined_blocks import BorderStage, JoinedBlocks
from sidecar.checks.spans import done
from sidecar.model.finding import Action, Finding


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
        self._stages: list[_Stage | BorderStage] = [*stages(checks), *border, *stages(last)]
        self._location = location
        self.findings: list[Finding] = []
        self.blocked = False

    @property
    def holding(self) -> bool:
        for stage in self._stages:  # noqa: SIM110 - often for each event: a loop costs a third of any()
            if stage.held and not stage.passive:
                return True
        return False

    def feed(self, text: str, *, end: bool) -> str:
        """Text that left the last stage. After a blocking match only what stood before it."""
        for stage in self._stages:
            if not text and not end:
                break  # nothing came this far
            text, matches, blocked = stage.feed(text, end=end)
            if matches:
                self.findings += stage.findings(matches, self._location)
            if blocked:
                self.blocked = end = True
        return text


class _Stage:
    """One check over one text stream: what it held back, and the context before it."""

    __slots__ = ("_calm", "_context", "_piecewise", "_was_calm", "_written", "check", "held", "passive")

    def __init__(self, check: SpanCheck, *, passive: bool, written: bool = False) -> None:
        self.check = check
        self._calm: Callable[[str, int], int | None] | None = (
            None if written else getattr(check, "calm", None)
        )
        self._was_calm = False
        self.passive = passive
        self._written = written
        self._piecewise = getattr(check, "piecewise", False)
        self.held = ""
        self._context = ""

    def feed(self, text: str, *, end: bool) -> tuple[str, Sequence[Match], bool]:
        """What flows on, the matches that are certain now, and whether one of them ends the answer."""
        check = self.check
        whole = self._context + self.held + text
        start = len(self._context)
        if self._calm is not None:
            calm = self._calm(whole, len(whole) - len(text) if self._was_calm else 0)
            self._was_calm = calm is not None
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

    def findings(self, matches: Sequence[Match], location: str) -> list[Finding]:
        """Of what `feed` found."""
        name, action = self.check.name, self.check.action
        return [
            Finding(check=name, kind=match.kind, action=done(action, match), location=location)
            for match in matches
        ]

    def _keep(self, whole: str, release: int, context: int) -> None:
        """Up to `release` it flows; what must be known of it, and the rest, is kept."""
        self._context = whole[max(0, release - context) : release] if context else ""
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
