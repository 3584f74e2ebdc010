"""gRPC's rules on one HTTP/2 connection from Envoy, sans-I/O: bytes in -> what its calls ask; answers -> bytes out. No asyncio
here.

A session keeps HTTP/2's rules and ends connections that break them; what a broken call does ends that call alone. A peer
gets new window only for what was taken: memory is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sidecar.wire import grpc_status as status
from sidecar.wire.grpc_admission import Admission, refusal
from sidecar.wire.grpc_call import Budget, Method, Shell, Stream
from sidecar.wire.grpc_frames import BadFrame, MessageReader, whole
from sidecar.wire.http2_seam import Lane, Session, Sessions


@dataclass(slots=True, kw_only=True)
class Http2Connection:
    """`shell` is told while `receive` or `output` runs."""

    sessions: Sessions
    methods: Mapping[bytes, Method]
    max_message: int
    max_calls: int
    budget: Budget
    shell: Shell
    clock: Callable[[], float] = time.monotonic
    draining: bool = False
    final: bool = False
    _arrived: float = 0.0
    _begun: list[Stream] = field(default_factory=list)  # unary calls with a deadline that this read opened
    _admission: Admission = field(init=False)
    _session: Session = field(init=False)

    def __post_init__(self) -> None:
        self._admission = Admission(self.methods)
        self._session = self.sessions(self, self.max_calls)

    @property
    def streams(self) -> list[Stream]:
        """Calls that have no status yet."""
        return [lane.call for lane in self._session.lanes.values() if lane.call is not None]

    @property
    def ready(self) -> bool:
        """Whether the peer has said that it speaks HTTP/2."""
        return self._session.ready

    @property
    def closed(self) -> bool:
        """Whether nothing more is read: write what `output` gives and close."""
        return self._session.closed

    def receive(self, data: bytes) -> None:
        """Bytes from the peer. A broken rule of HTTP/2 sets `closed`."""
        self._arrived = self.clock()
        self._session.receive(data)
        if self._session.leaving:
            self.draining = self.final = True
        if self._begun:
            for stream in self._begun:
                if not stream.ended and not stream.finished:
                    self.shell.awaited(stream)
            self._begun.clear()

    def requested(self, lane: Lane, headers: status.Headers) -> None:
        """Implements Listener, as do `called`, `data`, `trailed`, `lost` and `ponged`."""
        stream = self._opened(lane, headers)
        if stream is not None and lane.ended and not stream.finished:
            self._end(stream)

    def called(self, lane: Lane, headers: status.Headers, body: bytes) -> bytes | bool:
        stream = self._opened(lane, headers)
        if stream is None or not stream.method.unary:
            return self.data(lane, body)
        message = whole(body, self.max_message)
        if message is None:
            return self.data(lane, body)
        stream.ended = True
        answer = self.shell.asked(stream, message)
        if answer is None:
            return True
        stream.finished = True
        lane.call = None
        return answer

    def _opened(self, lane: Lane, headers: status.Headers) -> Stream | None:
        """The call that a stream is; None when it is refused."""
        admitted = self._admission.admit(lane, headers, self._arrived)
        if not isinstance(admitted, Stream):
            self._session.end(lane, admitted)
            return None
        lane.call = admitted
        if not admitted.method.unary:
            self.shell.opened(admitted)
        elif admitted.due is not None and not lane.ended:
            self._begun.append(admitted)
        return admitted

    def data(self, lane: Lane, data: bytes) -> bool:
        stream: Stream | None = lane.call
        if stream is None:
            return True  # answered before all was here
        if stream.reader is None:
            if lane.ended or not stream.method.unary:
                message = whole(data, self.max_message)
                if message is not None and self._handed(stream, message):
                    return True
            stream.reader = MessageReader(self.max_message)
        self._kept(stream, data)
        return False

    def _handed(self, stream: Stream, message: bytes) -> bool:
        """Whether somebody took a message at once that came whole and alone."""
        stream.ended = stream.lane.ended
        if stream.method.unary:
            self._asked(stream, message)
        elif not self.shell.said(stream, message):
            stream.ended = False
            return False
        return True

    def _asked(self, stream: Stream, message: bytes) -> None:
        answer = self.shell.asked(stream, message)
        if answer is not None:
            self.answer(stream, answer)

    def _kept(self, stream: Stream, data: bytes) -> None:
        """Bytes that nobody takes yet."""
        reader = stream.reader
        assert reader is not None
        reader.feed(data)
        stream.unacknowledged += len(data)
        self.budget.account(stream)
        unary = stream.method.unary
        if self.budget.now > self.budget.most:
            self.fail(stream, status.RESOURCE_EXHAUSTED, "too many bytes of unread messages")
        elif unary and (bad := stream.broken()) is not None:
            self.fail(stream, bad.code, str(bad))
        else:
            if unary or not reader.ready:
                self._release(stream)
            if stream.lane.ended:
                self._end(stream)
            elif not unary and reader.ready:
                self.shell.readable(stream)

    def trailed(self, lane: Lane) -> None:
        if lane.call is not None:
            self._end(lane.call)

    def lost(self, lane: Lane) -> None:
        stream: Stream | None = lane.call
        if stream is not None:
            self._forget(stream)
            self.shell.gone(stream)

    def ponged(self) -> None:
        self.final_notice()

    def _end(self, stream: Stream) -> None:
        """The peer has sent everything."""
        stream.ended = True
        if not stream.method.unary:
            self.shell.readable(stream)
            return
        try:
            message = stream.only_message()
        except BadFrame as bad:
            self.fail(stream, bad.code, str(bad))
        else:
            self.budget.account(stream)
            self._asked(stream, message)

    def take(self, stream: Stream) -> bytes | None:
        """The next message of a streaming call; None when none is there. What is taken opens the window again.

        Raises BadFrame; also for a message that the peer's end cut off.
        """
        message = stream.next_message()
        if message is not None:
            self.budget.account(stream)
            if stream.reader is None or not stream.reader.ready:
                self._release(stream)
        return message

    def send(self, stream: Stream, message: bytes) -> None:
        """Queue a reply; `queued` tells how much waits for the peer."""
        if stream.finished:
            return
        if not stream.responded:
            stream.responded = True
            self._session.begin(stream.lane)
        self._session.say(stream.lane, message)

    def answer(self, stream: Stream, message: bytes) -> None:
        """The one reply of a unary call that ends well."""
        if not stream.finished:
            self._forget(stream)
            self._session.answer(stream.lane, message)

    def finish(self, stream: Stream, code: int, text: str = "") -> None:
        """End a call with a status. Only the first end counts."""
        if not stream.finished:
            self._forget(stream)
            self._session.end(
                stream.lane, status.trailers(code, text) if stream.responded else refusal(code, text)
            )

    def fail(self, stream: Stream, code: int, text: str) -> None:
        """End a call whose peer broke a rule, and tell the shell."""
        self.finish(stream, code, text)
        self.shell.gone(stream)

    def queued(self, stream: Stream) -> int:
        """Bytes of replies that wait for the peer's window."""
        return 0 if stream.finished else self._session.queued(stream.lane)

    def output(self) -> bytes:
        """Bytes to write now, b"" when there are none."""
        return self._session.output()

    def wants_output(self) -> bool:
        """Whether `output` has something to give."""
        return self._session.wants_output()

    def idle(self) -> bool:
        """Whether no call runs and no answer waits for the peer."""
        return self._session.idle()

    def notice(self) -> None:
        """Ask the peer to open no more calls; `final_notice` follows its answer."""
        self.draining = True
        self._session.notice()

    def final_notice(self) -> None:
        """Take no more."""
        if self.draining and not self.final:
            self.final = True
            self._session.refuse_more()

    def forget_all(self) -> None:
        """The transport is gone."""
        self._session.closed = True
        for lane in list(self._session.lanes.values()):
            self.lost(lane)

    def _forget(self, stream: Stream) -> None:
        stream.finished = True
        stream.lane.call = None
        if stream.reader is not None:
            stream.reader.clear()
            self.budget.account(stream)
        if stream.unacknowledged:
            self._release(stream)

    def _release(self, stream: Stream) -> None:
        self._session.acknowledge(stream.lane, stream.unacknowledged)
        stream.unacknowledged = 0
