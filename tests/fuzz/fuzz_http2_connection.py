"""Fuzzes one HTTP/2 connection of our own engine: `python -m tests.fuzz.play http2_connection`.
The suite plays `one_input` with hypothesis.

An input is a program: raw bytes, frames, well-formed calls, and what a handler does meanwhile. Whatever it is, the
core raises nothing, accounts for every byte that it keeps, keeps no more than it may, and forgets all at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.wire import grpc_status as status
from sidecar.wire.grpc_call import Budget, Method, Stream
from sidecar.wire.grpc_frames import BadFrame
from sidecar.wire.http2_connection import Http2Connection
from sidecar.wire.http2_limits import STREAM_WINDOW
from sidecar.wire.http2_seam import Sessions
from sidecar.wire.http2_session import Http2Session
from tests.integration.wire import raw_h2 as h2

MOST_MESSAGE = 4096
MOST_CALLS = 8
MOST_HELD = 3 * STREAM_WINDOW
_PATHS = (b"/test.S/Unary", b"/test.S/Stream", b"/test.S/None")
_BLOCKS = tuple(h2.block(path) for path in _PATHS)
_ODD_BLOCKS = (
    h2.block(_PATHS[0], grpc_timeout=b"1n"),
    h2.block(_PATHS[1], te=None),
    h2.block(_PATHS[0], p_method=b"GET"),
    h2.block(_PATHS[1], content_type=b"text/plain"),
    h2.literal(b"x-last", b"y"),
    b"\xff" * 9,
)


@dataclass
class Shell:
    """In the place of asyncio's side: notes what it is told, and does what the input's program says."""

    sessions: Sessions = Http2Session
    core: Http2Connection = field(init=False)
    budget: Budget = field(default_factory=lambda: Budget(MOST_HELD))
    calls: list[Stream] = field(default_factory=list)
    over: set[int] = field(default_factory=set)
    got: int = 0
    handed: int = 0
    replied: int = 0
    written: int = 0
    noticed: int = 0
    last: int = -1

    def __post_init__(self) -> None:
        methods = {
            path: Method(name=path.decode(), unary=path == _PATHS[0], handler=None) for path in _PATHS[:2]
        }
        self.core = Http2Connection(
            sessions=self.sessions,
            methods=methods,
            max_message=MOST_MESSAGE,
            max_calls=MOST_CALLS,
            budget=self.budget,
            shell=self,
            clock=lambda: 0.0,
        )

    def opened(self, stream: Stream) -> None:
        self.calls.append(stream)

    def readable(self, stream: Stream) -> None:
        _is(stream.lane.number not in self.over, "a finished call is readable")

    def awaited(self, stream: Stream) -> None:
        assert stream.due is not None
        assert not stream.ended
        assert stream in self.core.streams

    def asked(self, stream: Stream, message: bytes) -> bytes | None:
        assert len(message) <= MOST_MESSAGE
        assert stream.ended
        self.replied += 9
        if stream.lane.number % 8 == 7:
            return b"at once"
        self.calls.append(stream)
        return None

    def said(self, stream: Stream, message: bytes) -> bool:
        """Some handlers wait for their messages, the others come for them later."""
        _is(stream.lane.number not in self.over, "a message for a finished call")
        assert len(message) <= MOST_MESSAGE
        if stream.lane.number % 8 != 5:
            return False
        self.handed += 1
        return True

    def gone(self, stream: Stream) -> None:
        _is(stream.lane.number not in self.over, "a call is lost twice")
        self.over.add(stream.lane.number)

    def receive(self, data: bytes) -> None:
        if not self.core.closed:
            self.got += len(data)
            self.core.receive(data)

    def output(self) -> None:
        self.written += len(self.core.output())

    def take(self, stream: Stream) -> None:
        if stream.finished:
            return
        try:
            message = self.core.take(stream)
        except BadFrame as bad:
            self.core.finish(stream, bad.code, str(bad))
        else:
            _is(message is None or len(message) <= MOST_MESSAGE, "a message over the limit")

    def send(self, stream: Stream, size: int) -> None:
        if self.core.queued(stream) <= MOST_HELD:  # as the shell waits for its peer
            self.replied += size
            self.core.send(stream, bytes(size))

    def check(self) -> None:
        """What holds between any two steps."""
        streams = self.core.streams
        assert len(streams) <= MOST_CALLS
        assert self.budget.now == sum(stream.held for stream in streams)
        assert 0 <= self.budget.now <= MOST_HELD
        for stream in streams:
            held = 0 if stream.reader is None else len(stream.reader)
            assert stream.held == held
            assert not stream.finished
            assert stream.unacknowledged <= STREAM_WINDOW
            assert held <= MOST_MESSAGE + STREAM_WINDOW
        session = self.core._session
        if isinstance(session, Http2Session) and not session.closed:
            _check_windows(session, streams)

    def end(self) -> None:
        """The transport is gone, after the last bytes are out."""
        self.output()
        self.core.forget_all()
        assert not self.core.streams
        assert self.budget.now == 0
        # every answer is bounded by what asked for it: nobody amplifies. A notice is asked for by no peer.
        assert self.written <= 2 * self.replied + 64 * (self.got + self.noticed) + 4096


class _Input:
    """Bytes as a program; all zeros after their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]


def _bytes_of(shell: Shell, code: int, program: _Input) -> bytes | None:
    """The bytes that a step of the peer sends; None for another kind of step."""
    match code:
        case 0:
            return program.bytes(program.byte())
        case 1:
            kind, flags, stream = program.byte() % 12, program.byte(), program.byte() % 32
            return h2.frame(kind, flags, stream, program.bytes(program.byte()))
        case 2 | 3 | 4:
            shell.last += 2
            flags = h2.END_HEADERS | (h2.END_STREAM if program.byte() % 8 == 0 else 0)
            return h2.frame(h2.HEADERS, flags, shell.last, _BLOCKS[code - 2])
        case 5:
            block = _ODD_BLOCKS[program.byte() % len(_ODD_BLOCKS)]
            shell.last += 2
            return h2.frame(h2.HEADERS, program.byte(), shell.last, block)
        case 6 | 7 | 8 | 10 if shell.last < 0:
            return b""  # nothing is open: the connection would end here
        case 6 | 7:
            body = h2.message(bytes(program.byte()), flag=program.byte() % 3 if code == 7 else 0)
            return h2.frame(h2.DATA, program.byte() % 2, _recent(shell, program), body)
        case 8:
            size = program.byte() * 64
            number = _recent(shell, program)
            if size and size % 192 == 0:
                return h2.frame(h2.DATA, h2.PADDED, number, bytes((size // 192,)) + bytes(size))
            return h2.frame(h2.DATA, 0, number, bytes(size))
        case 9:
            number = shell.last if program.byte() % 2 else 0
            return h2.frame(
                h2.WINDOW_UPDATE, 0, max(0, number), (program.byte() * 65_536 + 1).to_bytes(4, "big")
            )
        case 10:
            return h2.frame(h2.RST_STREAM, 0, _recent(shell, program), bytes(4))
    return None


def _recent(shell: Shell, program: _Input) -> int:
    """One of the last four streams."""
    return max(1, shell.last - 2 * (program.byte() % 4))


def _act(shell: Shell, code: int, program: _Input) -> None:
    """A step of the handlers, or of the shell itself."""
    if code == 11:
        shell.output()
    elif code in {12, 13}:
        shell.noticed += 1
        (shell.core.notice if code == 12 else shell.core.final_notice)()
    elif shell.calls:
        stream = shell.calls[program.byte() % len(shell.calls)]
        match code:
            case 14:
                shell.take(stream)
            case 15:
                shell.send(stream, program.byte() * 128)
            case 16:
                shell.core.finish(stream, program.byte() % 17, "why not")
            case _:
                shell.send(stream, program.byte())
                shell.core.finish(stream, status.OK)


def _steps(shell: Shell, program: _Input) -> Iterator[bytes]:
    while program and not shell.core.closed:
        code = program.byte() % 18
        sent = _bytes_of(shell, code, program)
        if sent is None:
            _act(shell, code, program)
        else:
            yield sent


def one_input(data: bytes, sessions: Sessions = Http2Session) -> None:
    """An input of the fuzzer. Its first byte: whether it begins as HTTP/2, and whether frames come one by one."""
    program = _Input(data)
    how = program.byte()
    shell = Shell(sessions)
    if how & 1:
        shell.receive(
            h2.PREFACE + h2.frame(h2.SETTINGS) + (h2.frame(h2.SETTINGS, h2.ACK) if how & 2 else b"")
        )
    waiting = b""
    for sent in _steps(shell, program):
        waiting += sent
        if how & 4 or len(waiting) > 4096:
            shell.receive(waiting)
            waiting = b""
            shell.check()
    shell.receive(waiting)
    shell.check()
    shell.end()


def _check_windows(session: Http2Session, streams: list[Stream]) -> None:
    """Window that the peer does not get back is that of bytes which a call has not taken: none is lost for ever."""
    assert session._spent - session._taken == sum(stream.unacknowledged for stream in streams)
    for lane in session.lanes.values():
        if not lane.ended:
            untaken = 0 if lane.call is None else lane.call.unacknowledged
            assert lane.spent - lane.taken == untaken
            assert lane.spent <= STREAM_WINDOW


def _is(fact: object, otherwise: str) -> None:
    assert fact, otherwise


def seeds() -> list[bytes]:
    """Nothing but the empty input."""
    return [b""]
