"""One HTTP/2 connection from Envoy, sans-I/O: bytes in -> what its calls ask; answers -> bytes out. No asyncio here.

libnghttp2 (by ngh2) keeps HTTP/2's rules and ends connections that break them; this file keeps gRPC's, and what a
broken call does ends that call alone. A peer gets new window only for what was taken: memory is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import ngh2
from ngh2 import DataReceived, RequestReceived, StreamClosed, StreamReset

from sidecar.wire import grpc_status as status
from sidecar.wire.grpc_admission import Admission, refusal
from sidecar.wire.grpc_call import Budget, Method, Shell, Stream
from sidecar.wire.grpc_frames import BadFrame, MessageReader, frame, whole
from sidecar.wire.http2_limits import CONNECTION_WINDOW, RULES, settings


@dataclass(slots=True, kw_only=True)
class Http2Connection:
    """`shell` is told while `receive` or `output` runs."""

    methods: Mapping[bytes, Method]
    max_message: int
    max_calls: int
    budget: Budget
    shell: Shell
    clock: Callable[[], float] = time.monotonic
    streams: dict[int, Stream] = field(default_factory=dict)
    """Calls that have no status yet."""
    ready: bool = False  # the peer's preface and settings came
    closed: bool = False  # nothing more is read: write what `output` gives and close
    draining: bool = False
    final: bool = False
    _arrived: float = 0.0
    _begun: list[Stream] = field(default_factory=list)  # unary calls with a deadline that this read opened
    _unfinished: set[int] = field(default_factory=set)
    _admission: Admission = field(init=False)
    _wire: ngh2.Connection = field(init=False)

    def __post_init__(self) -> None:
        self._admission = Admission(self.methods)
        self._wire = ngh2.Connection(ngh2.Role.SERVER, RULES)
        self._wire.initiate_connection(settings(self.max_calls))
        self._wire.set_local_window_size(CONNECTION_WINDOW)

    def receive(self, data: bytes) -> None:
        """Bytes from the peer. A broken rule of HTTP/2 sets `closed`."""
        self._arrived = self.clock()
        try:
            self._wire.receive_data(data)
        except ngh2.NGH2Error:
            self.closed = True
        self._handle(self._wire.events())
        for stream in self._begun:
            if not stream.ended and not stream.finished:
                self.shell.awaited(stream)
        self._begun.clear()

    def _handle(self, events: list[ngh2.Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                self._data(event)
            elif isinstance(event, RequestReceived):
                self._request(event)
            elif isinstance(event, (StreamClosed, StreamReset)):
                if self.streams or self._unfinished:  # most are answered: nothing is kept of them
                    self._lost(event.stream_id)
            elif isinstance(event, ngh2.TrailersReceived):
                if (stream := self.streams.get(event.stream_id)) is not None:
                    self._end(stream)
            elif isinstance(event, ngh2.SettingsReceived):
                self.ready = True
            elif isinstance(event, ngh2.GoAwayReceived):
                self.draining = self.final = True
            elif isinstance(event, ngh2.PingAcknowledged):
                self.final_notice()
            elif isinstance(event, ngh2.ConnectionClosed):
                self.closed = True

    def _request(self, event: RequestReceived) -> None:
        number, ended = event.stream_id, event.end_stream
        admitted = self._admission.admit(number, event.headers, self._arrived)
        if not isinstance(admitted, Stream):
            self._refuse(number, admitted, ended=ended)
            return
        self.streams[number] = admitted
        if not admitted.method.unary:
            self.shell.opened(admitted)
        elif admitted.due is not None:
            self._begun.append(admitted)
        if ended and not admitted.finished:
            self._end(admitted)

    def _data(self, event: DataReceived) -> None:
        number, data, ended = event.stream_id, event.data, event.end_stream
        stream = self.streams.get(number)
        if stream is None or (stream.reader is None and self._handed(stream, data, ended=ended)):
            self._acknowledge(number, len(data))  # answered before all was here, or taken at once
            return
        if stream.reader is None:
            stream.reader = MessageReader(self.max_message)
        stream.reader.feed(data)
        stream.unacknowledged += len(data)
        self.budget.account(stream)
        unary = stream.method.unary
        if self.budget.now > self.budget.most:
            self.fail(stream, status.RESOURCE_EXHAUSTED, "too many bytes of unread messages")
        elif unary and (bad := stream.broken()) is not None:
            self.fail(stream, bad.code, str(bad))
        else:
            if unary or not stream.reader.ready:
                self._release(stream)
            if ended:
                self._end(stream)
            elif not unary and stream.reader.ready:
                self.shell.readable(stream)

    def _handed(self, stream: Stream, data: bytes, *, ended: bool) -> bool:
        """Whether the data was one message, and somebody took it at once."""
        unary = stream.method.unary
        message = whole(data, self.max_message) if ended or not unary else None
        if message is None:
            return False
        stream.ended = ended
        if unary:
            self.shell.asked(stream, message)
        elif not self.shell.said(stream, message):
            stream.ended = False
            return False
        return True

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
            self.shell.asked(stream, message)

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
        try:
            if not stream.responded:
                stream.responded = True
                self._wire.send_response(stream.id, status.RESPONSE)
            self._wire.send_data(stream.id, frame(message))
        except ngh2.NGH2Error:
            self._lost(stream.id)

    def answer(self, stream: Stream, message: bytes) -> None:
        """The one reply of a unary call that ends well."""
        if stream.finished:
            return
        framed = frame(message)
        self._forget(stream)
        wire, number = self._wire, stream.id
        try:
            wire.send_response(number, status.RESPONSE)
            wire.send_data(number, framed)
            wire.send_trailers(number, status.FINE)
        except ngh2.NGH2Error:
            return  # RST_STREAM came in the same read

    def finish(self, stream: Stream, code: int, text: str = "") -> None:
        """End a call with a status. Only the first end counts."""
        if stream.finished:
            return
        self._forget(stream)
        try:
            if stream.responded:
                self._wire.send_trailers(stream.id, status.trailers(code, text))
            else:
                self._wire.send_response(stream.id, refusal(code, text), end_stream=True)
        except ngh2.NGH2Error:
            return  # RST_STREAM came in the same read
        if not stream.ended:
            self._unfinished.add(stream.id)

    def fail(self, stream: Stream, code: int, text: str) -> None:
        """End a call whose peer broke a rule, and tell the shell."""
        self.finish(stream, code, text)
        self.shell.gone(stream)

    def queued(self, stream: Stream) -> int:
        """Bytes of replies that wait for the peer's window."""
        return 0 if stream.finished else self._wire.queued_body_size(stream.id)

    def output(self, most: int) -> bytes:
        """Bytes to write now, b"" when there are none."""
        wire = self._wire
        try:
            out = wire.data_to_send(most)
            if self._unfinished and not wire.want_write and self._reset_unfinished():
                out += wire.data_to_send()
        except ngh2.NGH2Error:
            self.closed = True
            return b""
        self._handle(wire.events())
        return out

    def idle(self) -> bool:
        """Whether no call runs and no answer waits for the peer."""
        return not self.streams and not self._wire.queued_body_size() and not self.wants_output()

    def wants_output(self) -> bool:
        """Whether `output` has something to give."""
        try:
            return self._wire.want_write
        except ngh2.NGH2Error:
            return False

    def _reset_unfinished(self) -> bool:
        """A call that is answered before its peer has ended is closed (NO_ERROR), but after its trailers are out."""
        done = [number for number in self._unfinished if not self._wire.queued_body_size(number)]
        for number in done:
            self._unfinished.discard(number)
            self._wire.reset_stream(number, 0)
        return bool(done)

    def notice(self) -> None:
        """Ask the peer to open no more calls; `final_notice` follows its answer."""
        self.draining = True
        try:
            self._wire.send_shutdown_notice()
            self._wire.ping()
        except ngh2.NGH2Error:
            self.closed = True

    def final_notice(self) -> None:
        """Take no more."""
        if self.draining and not self.final:
            self.final = True
            try:
                self._wire.send_goaway()
            except ngh2.NGH2Error:
                self.closed = True

    def forget_all(self) -> None:
        """The transport is gone."""
        self.closed = True
        for number in list(self.streams):
            self._lost(number)

    def _refuse(self, number: int, headers: status.Headers, *, ended: bool) -> None:
        try:
            self._wire.send_response(number, headers, end_stream=True)
        except ngh2.NGH2Error:
            return
        if not ended:
            self._unfinished.add(number)

    def _lost(self, number: int) -> None:
        self._unfinished.discard(number)
        if (stream := self.streams.get(number)) is not None:
            self._forget(stream)
            self.shell.gone(stream)

    def _forget(self, stream: Stream) -> None:
        stream.finished = True
        self.streams.pop(stream.id, None)
        if stream.reader is not None:
            stream.reader.clear()
            self.budget.account(stream)
        if stream.unacknowledged:
            self._release(stream)

    def _release(self, stream: Stream) -> None:
        self._acknowledge(stream.id, stream.unacknowledged)
        stream.unacknowledged = 0

    def _acknowledge(self, number: int, amount: int) -> None:
        try:
            self._wire.acknowledge_received_data(amount, number)
        except (ngh2.NGH2Error, ValueError):
            return  # the stream or the connection is gone: nothing to open
