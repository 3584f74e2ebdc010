"""Runs the content checks over a streamed answer: every match is found whatever the split, the rest flows at once.

Each text stream (one choice's content, one tool call's arguments …) has a pipe of its own (sidecar/checks/pipe.py).
Checks that only flag, and shadow mode, hold back nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import msgspec

from sidecar.checks.base import CheckSet, SpanCheck
from sidecar.checks.content import apply_edits
from sidecar.checks.joined_blocks import GLUES, JoinedBlocks
from sidecar.checks.joined_parts import JoinedParts
from sidecar.checks.joined_pieces import JoinedPieces
from sidecar.checks.kept_texts import KeptTexts
from sidecar.checks.pipe import Pipe, span_check
from sidecar.checks.restore import RestoreCheck
from sidecar.formats.base import AnswerStream, FormatError, StreamPiece, TextPart
from sidecar.formats.reading import WHOLE
from sidecar.model.decision import Cause
from sidecar.model.finding import Action, Finding
from sidecar.model.value import Value


class StreamOutput(Value, frozen=True, kw_only=True):
    """What one call of `feed` gave: everything in it is of this call alone, totals are the inspector's.

    data: bytes for the client. cut: the stream is over, `data` ends with the protocol's own last event.
    cause: why it was cut, else None. findings: new ones.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"data"})

    data: bytes
    cut: bool = False
    cause: Cause | None = None
    findings: tuple[Finding, ...] = ()


class StreamInspector:
    """One streamed answer. `findings`, `scanned_bytes` and `total_bytes` (of text in UTF-8) are the totals so far."""

    def __init__(
        self, stream: AnswerStream, checks: CheckSet, *, shadow: bool, decision_id: str = ""
    ) -> None:
        self._stream = stream
        self._checks = [span_check(check) for check in checks.texts]
        self._of_identifier = checks.of_identifier
        tokens = checks.scope.tokens if checks.scope and checks.restores else None
        rendered = [span_check(check) for check in checks.rendered]
        restores = [RestoreCheck(tokens, in_json=in_json) for in_json in (False, True)] if tokens else []
        self._restore = restores[-1:]
        self._last: list[list[SpanCheck]] = [[check, *rendered] for check in restores]
        self._reads = bool(self._checks or self._last)
        self._kept = KeptTexts(checks.wholes, shadow=shadow)
        self._validates = bool(checks.wholes)
        self._joined = JoinedPieces(self._checks)
        # one that asks a model about segments would keep a whole one back, and ask twice
        self._joining = [check for check in self._checks if not getattr(check, "piecewise", False)]
        self._texts: dict[str, JoinedBlocks] = {}
        self._shadow = shadow
        self._decision_id = decision_id
        self._pipes: dict[str, Pipe] = {}
        self._cut: Cause | None = None
        self._refused = False  # by a validator or an identifier: nothing of the event that showed it flows
        self._named = True  # what we add may say the answer's identifiers
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
        found = len(self._found)
        data = self._watch(chunk, end=end) if self._shadow else self._guard(chunk, end=end)
        if self._cut is None and len(self._found) == found:  # as mostly
            return StreamOutput(data=data)
        return StreamOutput(
            data=data, cut=self._cut is not None, cause=self._cut, findings=self.findings[found:]
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
        for piece in self._stream.events():
            self.unscanned.update(dict.fromkeys(piece.unscanned))
            self._identify(piece.identifiers)
            for part in piece.texts:
                self._push(part)
            self._see(piece.objects)
            self._finish(piece.finished, every=piece.final)
            self._stream.take(None)
        if end:
            self._see(self._stream.unsaid())
        if end or self._unreadable:
            self._finish((), every=True)
        return chunk

    def _guard(self, chunk: bytes, *, end: bool) -> bytes:
        if not end and (part := self._stream.repeated(chunk)) is not None:  # as mostly
            said = self._say(part)
            return said if self._cut is None else said + self._ending()
        refused: Cause | None = None
        try:
            self._stream.feed(chunk, end=end)
        except FormatError as error:
            refused = error.cause
        out = bytearray()
        for piece in self._stream.events():
            out += self._piece(piece)
            if self._cut is not None:
                return bytes(out) + self._ending()
        if refused is not None:  # whatever stood before it in these bytes has flowed, as if it had come alone
            self._cut = refused
        elif end:
            self._see(self._stream.unsaid())
            out += self._flush(self._finish((), every=True))
        return bytes(out) if self._cut is None else bytes(out) + self._ending()

    def _ending(self) -> bytes:
        if self._cut is not Cause.ANSWER_CUT:
            return self._stream.fail(self._decision_id)
        return self._stream.cut(self._decision_id, named=self._named)

    def _piece(self, piece: StreamPiece) -> bytes:
        """One event, its text replaced by what may flow; held-back text goes before an event that ends its stream."""
        if piece.only_says and not piece.whole:
            return self._say(*piece.texts)
        self.unscanned.update(dict.fromkeys(piece.unscanned))
        if piece.identifiers:
            self._identify(piece.identifiers)
            if self._cut is not None:
                return b""
        if not piece.texts and not piece.finished and not piece.final:
            return self._stream.take(None)
        texts = [self._push(part) if self._cut is None else "" for part in piece.texts]
        self._see(piece.objects if self._cut is None else ())
        tails = self._finish(piece.finished, every=piece.final) if self._cut is None else {}
        for index in range(len(texts) - 1, -1, -1):
            if tail := tails.pop(piece.texts[index].location, ""):
                texts[index] += tail
        if piece.joined:
            self._join_parts(piece, texts)
        before = self._flush(tails)
        if self._cut is not None and (piece.whole or self._refused or not any(texts)):
            return before
        return before + self._stream.take(texts)

    def _say(self, part: TextPart) -> bytes:
        """An event that holds this text and nothing beside it that anybody looks at."""
        text = self._push(part)
        if self._cut is not None and (self._refused or not text):
            return b""
        return self._stream.take(None if text == part.text else (text,))

    def _push(self, part: TextPart) -> str:
        """What may flow of this text stream now."""
        text = part.text
        size = len(text) if text.isascii() else len(text.encode())
        self.total_bytes += size
        kept = self._validates and self._kept.reads(part.location)
        if not (self._reads or kept):
            return text
        self.scanned_bytes += size
        if part.joins:
            self._join(part)
        pipe = self._pipes.get(part.location)
        if pipe is None:
            pipe = self._pipes[part.location] = Pipe(
                self._checks,
                part.location,
                shadow=self._shadow,
                written=part.written,
                blocks=self._blocks(part),
                last=self._last[part.written] if self._last else (),
            )
        text = pipe.feed(text, end=False)
        if pipe.findings or pipe.blocked:
            self._note(pipe)
        if kept and self._cut is None:
            text = self._kept.take(part.location, text)
            self._judge()
            return "" if self._cut else text
        return text

    def _blocks(self, part: TextPart) -> JoinedBlocks | None:
        """What clients join with this text stream: others, or what it said before an end that was none."""
        if part.joins or part.location.startswith(WHOLE):
            return None
        text = self._stream.text_of(part.location)
        glues = GLUES if text else ("",)
        return self._texts.setdefault(text or part.location, JoinedBlocks(self._joining, glues))

    def _identify(self, parts: Sequence[TextPart]) -> None:
        """Identifiers are whole, and nobody may edit them: what would be redacted there ends the answer."""
        for part in parts:
            checks = [] if part.again else [span_check(check) for check in self._of_identifier(part.text)]
            size = len(part.text.encode()) if checks else 0
            self.scanned_bytes += size
            self.total_bytes += size
            for check in checks:
                action = Action.CUT if check.action is Action.REDACT else check.action
                for match in check.matches(part.text):
                    found = Finding(check=check.name, kind=match.kind, action=action, location=part.location)
                    self._refuse(found, named=False)
            if part.joins:
                self._join(part)

    def _join(self, part: TextPart) -> None:
        """What clients see that join this piece with those before it."""
        for found in self._joined.judge(part):
            self._refuse(found, named=not part.identifier)

    def _join_parts(self, piece: StreamPiece, texts: Sequence[str]) -> None:
        """Parts of one text that are whole in this event, as the checks left them."""
        for numbers in piece.joined if self._cut is None else ():
            parts = JoinedParts()
            for number in numbers:
                part = msgspec.structs.replace(piece.texts[number], joins=piece.texts[numbers[0]].location)
                parts.add(part, texts[number], self.findings)
            for found in parts.judge(self._joining):
                self._refuse(replace(found, action=min(found.action, Action.CUT)), named=True)

    def _refuse(self, found: Finding, *, named: bool) -> None:
        """Keep a finding in what is whole in its event, and nothing of the event flows where it blocks."""
        self._found[found] = None
        if found.action >= Action.CUT and not self._shadow:
            self._cut, self._refused, self._named = Cause.ANSWER_CUT, True, self._named and named

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
        """What an event holds whole flows with it or not at all: validators only look, at it with its tokens put back."""
        for check in self._restore:
            objects = [_restored(check, part) for part in objects]
        self._kept.see(objects)
        self._judge()

    def _judge(self) -> None:
        """Take what validators of complete texts found."""
        findings = self._kept.findings
        if not findings:
            return
        self._found.update(dict.fromkeys(findings))
        if not self._shadow and any(finding.action >= Action.CUT for finding in findings):
            self._cut = Cause.ANSWER_CUT
            self._refused = True
        findings.clear()

    def _flush(self, tails: dict[str, str]) -> bytes:
        if not tails:
            return b""
        return self._stream.closing([TextPart(location=at, text=text) for at, text in tails.items()])

    def _note(self, pipe: Pipe) -> None:
        if pipe.findings:
            self._found.update(dict.fromkeys(pipe.findings))
            pipe.findings.clear()
        if pipe.blocked and not self._shadow:
            self._cut = Cause.ANSWER_CUT


def _restored(check: RestoreCheck, part: TextPart) -> TextPart:
    edits = check.inspect(part).edits
    return msgspec.structs.replace(part, text=apply_edits(part.text, edits)) if edits else part
