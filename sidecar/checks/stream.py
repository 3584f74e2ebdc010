"""Runs the content checks over a streamed answer: every match is found whatever the split, the rest flows at once.

Each text stream (one choice's content, one tool call's arguments …) has a pipe of stages, one per check, in policy
order. A stage lets text go as soon as its check calls it settled: no match can begin there any more, whatever
follows. So it keeps at most L-1 characters, or up to 2L-2 while a match in them is waiting for its neighbourhood.
Checks that only flag, and shadow mode, hold back nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sidecar.checks.base import CheckSet, Match, SpanCheck, TextCheck
from sidecar.checks.kept_texts import KeptTexts
from sidecar.checks.restore import RestoreCheck
from sidecar.formats.base import AnswerStream, FormatError, StreamPiece, TextPart
from sidecar.model.decision import Cause
from sidecar.model.finding import Action, Finding
from sidecar.model.value import Value


class StreamOutput(Value, frozen=True, kw_only=True):
    """What one call of `feed` gave: everything in it is of this call alone, totals are the inspector's.

    data: bytes for the client. cut: the stream is over, `data` ends with the protocol's own last event.
    cause: why it was cut, else None. findings: new ones. scanned_bytes, total_bytes: text in UTF-8.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"data"})

    data: bytes
    cut: bool = False
    cause: Cause | None = None
    findings: tuple[Finding, ...] = ()
    scanned_bytes: int = 0
    total_bytes: int = 0


class StreamInspector:
    """One streamed answer. `findings`, `scanned_bytes` and `total_bytes` are the totals so far."""

    def __init__(
        self, stream: AnswerStream, checks: CheckSet, *, shadow: bool, decision_id: str = ""
    ) -> None:
        self._stream = stream
        self._checks = [_span_check(check) for check in checks.texts]
        tokens = checks.scope.tokens if checks.scope and checks.restores else None
        rendered = [_span_check(check) for check in checks.rendered]
        restores = [RestoreCheck(tokens, in_json=in_json) for in_json in (False, True)] if tokens else []
        self._last: list[list[SpanCheck]] = [[check, *rendered] for check in restores]
        self._kept = KeptTexts(checks.wholes, shadow=shadow)
        self._shadow = shadow
        self._decision_id = decision_id
        self._pipes: dict[str, _Pipe] = {}
        self._cut: Cause | None = None
        self._refused = False  # by a validator: nothing of the event that showed it flows
        self._unreadable = False
        self.unscanned: dict[str, None] = {}
        """Kinds of content that passed without being looked at."""
        self._found: dict[Finding, None] = {}
        self.scanned_bytes = 0
        self.total_bytes = 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._found)

    def feed(self, chunk: bytes, end: bool) -> StreamOutput:
        """Take bytes of the answer, split anywhere; `end` says that none follow. After a cut nothing comes out."""
        if self._cut is not None:
            return StreamOutput(data=b"", cut=True, cause=self._cut)
        before = (len(self._found), self.scanned_bytes, self.total_bytes)
        data = self._watch(chunk, end=end) if self._shadow else self._guard(chunk, end=end)
        return StreamOutput(
            data=data,
            cut=self._cut is not None,
            cause=self._cut,
            findings=self.findings[before[0] :],
            scanned_bytes=self.scanned_bytes - before[1],
            total_bytes=self.total_bytes - before[2],
        )

    def _watch(self, chunk: bytes, *, end: bool) -> bytes:
        """Shadow mode: the bytes pass as they are, also when they can't be read."""
        if self._unreadable:
            self.total_bytes += len(chunk)
            return chunk
        try:
            self._stream.feed(chunk, end=end)
        except FormatError:
            self._unreadable = True
            self.total_bytes += len(chunk)
            return chunk
        for piece in self._stream.events():
            self.unscanned.update(dict.fromkeys(piece.unscanned))
            for part in piece.texts:
                self._push(part)
            self._see(piece.objects)
            self._finish(piece.finished, every=piece.final)
            self._stream.take(None)
        if end:
            self._finish((), every=True)
        return chunk

    def _guard(self, chunk: bytes, *, end: bool) -> bytes:
        try:
            self._stream.feed(chunk, end=end)
        except FormatError as error:
            self._cut = error.cause
            return self._stream.cut(self._decision_id)
        out = bytearray()
        for piece in self._stream.events():
            out += self._piece(piece)
            if self._cut is not None:
                return bytes(out) + self._stream.cut(self._decision_id)
        if end:
            out += self._flush(self._finish((), every=True))
            if self._cut is not None:
                out += self._stream.cut(self._decision_id)
        return bytes(out)

    def _piece(self, piece: StreamPiece) -> bytes:
        """One event, its text replaced by what may flow; held-back text goes before an event that ends its stream."""
        self.unscanned.update(dict.fromkeys(piece.unscanned))
        if not piece.texts and not piece.finished and not piece.final:
            return self._stream.take(None)
        texts: list[str] = []
        touched = False
        for part in piece.texts:
            text, held = self._push(part) if self._cut is None else ("", True)
            texts.append(text)
            touched = touched or held or text != part.text
        self._see(piece.objects if self._cut is None else ())
        tails = self._finish(piece.finished, every=piece.final) if self._cut is None else {}
        for index in range(len(texts) - 1, -1, -1):
            if tail := tails.pop(piece.texts[index].location, ""):
                texts[index] += tail
                touched = touched or texts[index] != piece.texts[index].text
        before = self._flush(tails)
        if self._cut is not None and (piece.whole or self._refused or not any(texts)):
            return before
        return before + self._stream.take(texts if touched else None)

    def _push(self, part: TextPart) -> tuple[str, bool]:
        """What may flow of this text stream now, and whether any of its text is or was held back."""
        size = len(part.text.encode())
        self.total_bytes += size
        kept = self._kept.reads(part.location)
        if not self._checks and not self._last and not kept:
            return part.text, False
        self.scanned_bytes += size
        pipe = self._pipes.get(part.location)
        if pipe is None:
            checks = [*self._checks, *(self._last[part.written] if self._last else ())]
            pipe = self._pipes[part.location] = _Pipe(checks, part.location, shadow=self._shadow)
        held = pipe.holding
        text = pipe.feed(part.text, end=False)
        self._note(pipe)
        if kept and self._cut is None:
            text = self._kept.take(part.location, text)
            self._judge()
            return ("" if self._cut else text), True
        return text, held or pipe.holding

    def _finish(self, prefixes: Sequence[str], *, every: bool) -> dict[str, str]:
        """End these text streams; what was held back of each, by location."""
        tails: dict[str, str] = {}
        if not every and not prefixes:
            return tails
        for location in list(self._pipes):
            if every or location.startswith(tuple(prefixes)):
                pipe = self._pipes.pop(location)
                if tail := pipe.feed("", end=True):
                    tails[location] = tail
                self._note(pipe)
                if self._cut is not None:
                    return tails
        tails |= self._kept.end(prefixes, tails, every=every)
        self._judge()
        return {} if self._cut is not None else {at: tail for at, tail in tails.items() if tail}

    def _see(self, objects: Sequence[TextPart]) -> None:
        """What an event holds whole flows with it or not at all: validators only look."""
        self._kept.see(objects)
        self._judge()

    def _judge(self) -> None:
        """Take what validators of complete texts found."""
        findings = self._kept.findings
        self._found.update(dict.fromkeys(findings))
        if not self._shadow and any(finding.action >= Action.CUT for finding in findings):
            self._cut = Cause.ANSWER_CUT
            self._refused = True
        findings.clear()

    def _flush(self, tails: dict[str, str]) -> bytes:
        if not tails:
            return b""
        return self._stream.closing([TextPart(location=at, text=text) for at, text in tails.items()])

    def _note(self, pipe: _Pipe) -> None:
        if pipe.findings:
            self._found.update(dict.fromkeys(pipe.findings))
            pipe.findings.clear()
        if pipe.blocked and not self._shadow:
            self._cut = Cause.ANSWER_CUT


class _Pipe:
    """The stages of one text stream."""

    def __init__(self, checks: Sequence[SpanCheck], location: str, *, shadow: bool) -> None:
        self._stages = [_Stage(check, passive=shadow or check.action <= Action.FLAG) for check in checks]
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
            text, matches, blocked = stage.feed(text, end=end)
            check = stage.check
            if matches:
                self.findings += [
                    Finding(check=check.name, kind=match.kind, action=check.action, location=self._location)
                    for match in matches
                ]
            if blocked:
                self.blocked = end = True
        return text


class _Stage:
    """One check over one text stream: what it held back, and the context before it."""

    __slots__ = ("_context", "check", "held", "passive")

    def __init__(self, check: SpanCheck, *, passive: bool) -> None:
        self.check = check
        self.passive = passive
        self.held = ""
        self._context = ""

    def feed(self, text: str, *, end: bool) -> tuple[str, list[Match], bool]:
        """What flows on, the matches that are certain now, and whether one of them ends the answer."""
        check = self.check
        whole = self._context + self.held + text
        start = len(self._context)
        settled = len(whole)
        if not end:
            settled = max(start, len(whole) - check.max_match + 1, check.settled(whole))
        if settled <= start:
            self.held = whole[start:]
            return (text if self.passive else ""), [], False
        matches = check.matches(whole, start)
        if not self.passive and check.action >= Action.CUT and matches and matches[0].start < settled:
            first = matches[0]
            self.held = ""
            return whole[start : first.start], [first], True
        release = settled if end else self._release(matches, settled, len(whole))
        certain = [match for match in matches if match.end <= release]
        flows = text if self.passive else _redacted(whole, start, release, certain)
        self._context = whole[max(0, release - check.context) : release] if check.context else ""
        self.held = whole[release:]
        return flows, certain, False

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


def _redacted(text: str, start: int, end: int, matches: Sequence[Match]) -> str:
    out: list[str] = []
    for match in matches:
        out += (text[start : match.start], match.replacement)
        start = match.end
    out.append(text[start:end])
    return "".join(out)


def _span_check(check: TextCheck) -> SpanCheck:
    """Checks of answers must be able to follow a stream; the policy schema offers no others."""
    if not hasattr(check, "matches") or not hasattr(check, "settled"):
        raise TypeError(f"check {check.name} can't follow a stream")
    return check  # type: ignore[return-value]
