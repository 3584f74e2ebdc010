"""HTTP/2's rules on one connection as libnghttp2 keeps them: the session by which ours is judged, and that may take its place.

Costs a check some 50,000 instructions more (ADR 87).
"""

from __future__ import annotations

import ngh2
from ngh2 import DataReceived, RequestReceived, StreamClosed, StreamReset

from sidecar.wire import grpc_status as status
from sidecar.wire.grpc_frames import frame
from sidecar.wire.http2_limits import CONNECTION_WINDOW, MOST_FIELDS, MOST_HEADERS, settings
from sidecar.wire.http2_seam import Listener

_PIECE = 256 * 1024  # bytes for one write
_RULES = ngh2.Configuration(
    auto_window_update=False,
    max_inbound_header_list_size=MOST_HEADERS,
    max_inbound_header_count=MOST_FIELDS,
    # Envoy resets a call whenever its client goes away. With nghttp2's own limit, 1,000 and then 33 a second, a few
    # impatient clients would end the calls of all; one that is reset costs less here than one that is answered.
    stream_reset_rate_limit=(1 << 40, 1 << 40),
)


class Ngh2Session:
    """Implements Session."""

    def __init__(self, listener: Listener, most_streams: int) -> None:
        self.ready = False
        self.leaving = False
        self.closed = False
        self._listener = listener
        self._open: dict[int, bool] = {}  # streams that we have not ended, and whether their peers have
        self._unfinished: set[int] = set()  # those that we ended before their peers
        self._wire = ngh2.Connection(ngh2.Role.SERVER, _RULES)
        self._wire.initiate_connection(
            {ngh2.Setting(name): value for name, value in settings(most_streams).items()}
        )
        self._wire.set_local_window_size(CONNECTION_WINDOW)

    def receive(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            self._wire.receive_data(data)
        except ngh2.NGH2Error:
            self.closed = True
        self._handle(self._wire.events())

    def _handle(self, events: list[ngh2.Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                if event.stream_id in self._open:
                    self._open[event.stream_id] = event.end_stream
                self._listener.data(event.stream_id, event.data, ended=event.end_stream)
            elif isinstance(event, RequestReceived):
                self._open[event.stream_id] = event.end_stream
                self._listener.requested(event.stream_id, event.headers, ended=event.end_stream)
            elif isinstance(event, (StreamClosed, StreamReset)):
                self._unfinished.discard(event.stream_id)
                if self._open.pop(event.stream_id, None) is not None:
                    self._listener.lost(event.stream_id)
            elif isinstance(event, ngh2.TrailersReceived):
                if event.stream_id in self._open:
                    self._open[event.stream_id] = True
                self._listener.trailed(event.stream_id)
            elif isinstance(event, ngh2.SettingsReceived):
                self.ready = True
            elif isinstance(event, ngh2.GoAwayReceived):
                self.leaving = True
            elif isinstance(event, ngh2.PingAcknowledged):
                self._listener.ponged()
            elif isinstance(event, ngh2.ConnectionClosed):
                self.closed = True

    def acknowledge(self, number: int, amount: int) -> None:
        try:
            self._wire.acknowledge_received_data(amount, number)
        except (ngh2.NGH2Error, ValueError):
            return  # the stream or the connection is gone: nothing to open

    def answer(self, number: int, message: bytes) -> None:
        try:
            self._wire.send_response(number, status.RESPONSE)
            self._wire.send_data(number, frame(message))
            self._wire.send_trailers(number, status.FINE)
        except ngh2.NGH2Error:
            return  # RST_STREAM came in the same read
        finally:
            self._ended(number)

    def begin(self, number: int) -> None:
        try:
            self._wire.send_response(number, status.RESPONSE)
        except ngh2.NGH2Error:
            self._gone(number)

    def body(self, number: int, data: bytes) -> None:
        try:
            self._wire.send_data(number, data)
        except ngh2.NGH2Error:
            self._gone(number)

    def end(self, number: int, headers: status.Headers) -> None:
        try:
            if headers[0][0] == b":status":
                self._wire.send_response(number, headers, end_stream=True)
            else:
                self._wire.send_trailers(number, headers)
        except ngh2.NGH2Error:
            return  # RST_STREAM came in the same read
        finally:
            self._ended(number)

    def _ended(self, number: int) -> None:
        if self._open.pop(number, True) is False:
            self._unfinished.add(number)

    def _gone(self, number: int) -> None:
        if self._open.pop(number, None) is not None:
            self._listener.lost(number)

    def queued(self, number: int) -> int:
        return self._wire.queued_body_size(number)

    def output(self) -> bytes:
        wire = self._wire
        try:
            out = wire.data_to_send(_PIECE)
            if self._unfinished and not wire.want_write and self._reset_unfinished():
                out += wire.data_to_send()
        except ngh2.NGH2Error:
            self.closed = True
            return b""
        self._handle(wire.events())
        return out

    def _reset_unfinished(self) -> bool:
        """A call that is answered before its peer has ended is closed (NO_ERROR), but after its trailers are out."""
        done = [number for number in self._unfinished if not self._wire.queued_body_size(number)]
        for number in done:
            self._unfinished.discard(number)
            self._wire.reset_stream(number, 0)
        return bool(done)

    def wants_output(self) -> bool:
        try:
            return self._wire.want_write
        except ngh2.NGH2Error:
            return False

    def idle(self) -> bool:
        return not self._open and not self._wire.queued_body_size() and not self.wants_output()

    def notice(self) -> None:
        try:
            self._wire.send_shutdown_notice()
            self._wire.ping()
        except ngh2.NGH2Error:
            self.closed = True

    def refuse_more(self) -> None:
        try:
            self._wire.send_goaway()
        except ngh2.NGH2Error:
            self.closed = True
