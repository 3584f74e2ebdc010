"""Fuzzes the readers of streamed answers: SSE and NDJSON as bytes, every protocol's events, and the checks over them.

However the bytes are cut into chunks, events, texts and what flows are the same, or the stream is refused either way;
no byte of a stream that nobody edits is lost; what an event says is what an independent reader of SSE reads in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import Canary, Exfiltration, Markup, Pii, PiiType, Secrets
from sidecar.checks.catalog import build_checks
from sidecar.checks.stream import StreamInspector
from sidecar.formats.base import AnswerStream, Format, FormatError, StreamPiece, TextPart
from sidecar.formats.catalog import build_format
from sidecar.formats.event_reader import Splitter
from sidecar.formats.ndjson import LineSplitter
from sidecar.formats.split_names import RawEvent
from sidecar.formats.sse import EventSplitter
from tests.fuzz.program import GOLDEN, Program, golden_events

STREAMS = (
    ("openai", "/v1/chat/completions", "text/event-stream"),
    ("openai", "/v1/completions", "text/event-stream"),
    ("openai", "/v1/responses", "text/event-stream"),
    ("anthropic", "/v1/messages", "text/event-stream"),
    ("mcp", "/mcp", "text/event-stream"),
    ("ollama", "/api/chat", "application/x-ndjson"),
    ("ollama", "/api/generate", "application/x-ndjson"),
)
ENDS = (b"\n", b"\r\n", b"\r")
NAMES = frozenset({b"message_start", b"message"})
CHECKS = build_checks(
    (
        Pii(types=get_args(PiiType)),
        Secrets(action="redact"),
        Exfiltration(),
        Markup(),
        Canary(tokens=("canary-7f3a9c21",), action="cut"),
    )
)
_ODD_LINES = (
    b": alive",
    b"id: 7",
    b"event: message_start",
    b"event: jane@example.org",
    b"retry: 1",
    b"data",
    b"x",
)
_MOST = 2048
_BOM = b"\xef\xbb\xbf"


def _format(protocol: str, mode: str) -> Format:
    model = GuardModel(name="m", protocol=protocol)  # type: ignore[arg-type]
    plan = GuardPlan(
        id="1.1",
        policy="a/b",
        revision=1,
        model=model,
        tenants=("t",),
        output=(Pii(),),
        mode=mode,  # type: ignore[arg-type]
    )
    return build_format(plan)


FORMATS = {
    (protocol, mode): _format(protocol, mode) for protocol, _, _ in STREAMS for mode in ("enforce", "shadow")
}


def one_input(data: bytes) -> None:
    """Its first bytes: what is played and how it is cut; then the stream."""
    program = Program(data)
    kind = program.byte() % 8
    cuts = [1 + program.byte() for _ in range(program.byte() % 8)]
    if kind == 0:
        server_sent(program.rest(), cuts)
    elif kind == 1:
        lines(program.rest(), cuts)
    else:
        protocol, path, media_type = program.choice(STREAMS)
        mode = program.choice(("enforce", "shadow"))
        body = _body(program, protocol, lines=media_type != "text/event-stream")

        def start() -> AnswerStream:
            stream = FORMATS[protocol, mode].answer_stream(path, media_type)
            assert stream is not None
            return stream

        protocol_events(start, body, cuts)
        inspected(start, body, cuts, shadow=mode == "shadow")


def _body(program: Program, protocol: str, *, lines: bool) -> bytes:
    """Golden events with parts replaced, made ones, raw bytes; with lines of SSE that are not data between."""
    end = program.choice(ENDS)
    out = bytearray()
    for _ in range(1 + program.byte() % 12):
        match program.byte() % 8:
            case 0:
                event = program.take(program.byte())
            case 1:
                event = program.written(program.value())
            case 2:
                event = b"[DONE]"
            case _:
                event = program.written(program.golden(golden_events(protocol)))
        if lines:
            out += event.replace(b"\n", b"") + end
            continue
        if program.byte() % 4 == 0:
            out += program.choice(_ODD_LINES) + end
        for line in event.split(b"\n"):
            out += (b"data:" if program.byte() % 8 == 0 else b"data: ") + line + end
        out += end if program.byte() % 16 else b""
    return bytes(out)


def _chunks(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut in these sizes over and over; whole without any."""
    made, at, number = [], 0, 0
    while at < len(data) and cuts:
        size = cuts[number % len(cuts)]
        made.append(data[at : at + size])
        at, number = at + size, number + 1
    return made if cuts else [data]


def _split(splitter: Splitter, chunks: Sequence[bytes]) -> list[RawEvent]:
    """Up to the first one that is too large."""
    found: list[RawEvent] = []
    for chunk in [*chunks, b""]:
        if not splitter.over:
            found += splitter.feed(chunk, end=not chunk)
    return found


def _blocks(data: bytes) -> list[list[bytes]]:
    """The lines of each event, as the specification has them; one without its blank line counts."""
    blocks: list[list[bytes]] = [[]]
    for line in data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line:
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _said(data: bytes) -> list[bytes]:
    """What a reader of SSE is told, event by event. A byte order mark is none in any line: the lenient reading."""
    told = []
    for block in _blocks(data):
        fields = [line.removeprefix(_BOM).partition(b":") for line in block]
        values = [value.removeprefix(b" ") for name, _, value in fields if name == b"data"]
        told += [b"\n".join(values)] if values else []
    return told


def server_sent(data: bytes, cuts: Sequence[int]) -> None:
    """Bytes as SSE."""
    splitters = EventSplitter(_MOST), EventSplitter(_MOST)
    whole, pieces = _split(splitters[0], [data]), _split(splitters[1], _chunks(data, cuts))
    assert whole == pieces
    assert splitters[0].over is splitters[1].over
    read = b"".join(event.raw for event in whole)
    assert data.startswith(read)
    assert len(data) > _MOST if splitters[0].over else data == read
    assert [event.data for event in whole if event.data is not None] == _said(read)
    for event in whole:
        if event.data is not None:
            for said in (b"new", b"two\nlines", b""):
                assert _said(event.with_data(said)) == [said]
                assert _others(event.with_data(said)) == _others(event.raw)
            assert _said(event.only_data(NAMES).raw) == [event.data]
        for name, _, value in (line.partition(b":") for line in _others(event.only_data(NAMES).raw)):
            assert (name, value) == (b"", b"") or (name == b"event" and value.removeprefix(b" ") in NAMES)
        missing = EventSplitter().missing(event.raw)
        assert _said(event.raw + missing + b"data: x\n\n") == [*_said(event.raw), b"x"]


def _others(raw: bytes) -> list[bytes]:
    """Lines that are no data."""
    return [
        line
        for block in _blocks(raw)
        for line in block
        if line.removeprefix(_BOM).partition(b":")[0] != b"data"
    ]


def lines(data: bytes, cuts: Sequence[int]) -> None:
    """Bytes as NDJSON."""
    splitters = LineSplitter(_MOST), LineSplitter(_MOST)
    whole, pieces = _split(splitters[0], [data]), _split(splitters[1], _chunks(data, cuts))
    assert whole == pieces
    assert splitters[0].over is splitters[1].over
    read = b"".join(line.raw for line in whole)
    assert data.startswith(read)
    assert len(data) > _MOST if splitters[0].over else data == read
    for line in whole:
        assert line.with_data(b"{}").rstrip(b"\r\n") == b"{}"
        assert (line.raw + LineSplitter().missing(line.raw)).endswith(b"\n")


def protocol_events(start: Callable[[], AnswerStream], body: bytes, cuts: Sequence[int]) -> None:
    """Events as one protocol reads them."""
    whole, pieces = _taken(start(), [body]), _taken(start(), _chunks(body, cuts))
    assert whole == pieces
    again = _taken(start(), [body], lambda piece: [part.text for part in piece.texts])
    assert again == whole, "the same texts put back"


def _taken(
    stream: AnswerStream, chunks: Sequence[bytes], texts: Callable[[StreamPiece], Any] = lambda _: None
) -> tuple[list[StreamPiece], bytes, bool]:
    """What the events hold, how they go out, and whether the stream was refused behind them."""
    found: list[StreamPiece] = []
    out, refused = b"", False
    for chunk in [*chunks, b""]:
        try:
            stream.feed(chunk, end=not chunk)
        except FormatError:
            refused = True
        for piece in list(stream.events()):
            found.append(piece)
            out += stream.take(texts(piece))
        if refused:
            break
    assert isinstance(stream.cut("d1"), bytes)
    return found, out, refused


class _Told:
    """An answer's stream whose own events say only what is in them: which id and model they bear, and which choices they
    end, follows what was read, and that may be more than what flowed.
    """

    def __init__(self, stream: AnswerStream) -> None:
        self.feed, self.events, self.take = stream.feed, stream.events, stream.take
        self.unsaid, self.text_of, self.repeated = stream.unsaid, stream.text_of, stream.repeated

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        return repr([(part.location, part.text) for part in pending]).encode()

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        return f"{decision_id} {named}".encode()

    def fail(self, decision_id: str) -> bytes:
        return f"{decision_id} failed".encode()


def inspected(start: Callable[[], AnswerStream], body: bytes, cuts: Sequence[int], *, shadow: bool) -> None:
    """What flows through all checks, and what they find."""
    made = []
    for chunks in ([body], _chunks(body, cuts)):
        inspector = StreamInspector(_Told(start()), CHECKS, shadow=shadow, decision_id="d1")
        outs = [inspector.feed(chunk, end=False) for chunk in chunks if chunk]
        outs.append(inspector.feed(b"", end=True))
        made.append((b"".join(out.data for out in outs), outs[-1].cause, inspector.findings))
    assert made[0] == made[1]
    if shadow:
        assert made[0][0] == body


def seeds() -> list[bytes]:
    """Golden streams as bytes, and programs that play each protocol's golden events."""
    raw = [
        file.read_bytes()
        for file in sorted(GOLDEN.glob("*/*/stream.*"))
        if file.suffix in {".sse", ".ndjson"}
    ]
    made = [bytes((kind, 2, 0, 30)) + data for data in raw for kind in (0, 1)]
    for number in range(len(STREAMS)):
        for mode in (0, 1):
            made += [
                bytes((2, 1, 17, number, mode, 0, 11, *[7, 0, event, 0, 9, 9, 9] * 12)) for event in range(4)
            ]
    return made
