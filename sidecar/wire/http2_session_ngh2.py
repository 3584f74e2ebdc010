"""HTTP/2's rules on one connection as libnghttp2 keeps them: the session by which ours is judged, and that may take its place.

Costs a check some 50,000 instructions more (ADR 87).
"""

from __future__ import annotations

import ngh2
from ngh2 import DataReceived, RequestReceived, StreamClosed, StreamReset

from sidecar.wire import grpc_status as status
from sidecar.wire.grpc_frames import frame
from sidecar.wire.http2_limits import CONNECTION_WINDOW, MOST_FIELDS, MOST_HEADERS, settings
from sidecar.wire.http2_seam import Lane, Listener

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
        self.lanes: dict[int, Lane] = {}
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
                self._data(event)
            elif isinstance(event, RequestReceived):
                number = event.stream_id
                self.lanes[number] = lane = Lane(number, ended=event.end_stream)
                self._listener.requested(lane, event.headers)
            elif isinstance(event, (StreamClosed, StreamReset)):
                self._unfinished.discard(event.stream_id)
                if (gone := self.lanes.get(event.stream_id)) is not None:
                    self._gone(gone)
            elif isinstance(event, ngh2.TrailersReceived):
                if (ending := self.lanes.get(event.stream_id)) is not None:
                    ending.ended = True
                    self._listener.trailed(ending)
            elif isinstance(event, ngh2.SettingsReceived):
                self.ready = True
            elif isinstance(event, ngh2.GoAwayReceived):
                self.leaving = True
            elif isinstance(event, ngh2.PingAcknowledged):
                self._listener.ponged()
            elif isinstance(event, ngh2.ConnectionClosed):
                self.closed = True

    def _data(self, event: DataReceived) -> None:
        lane = self.lanes.get(event.stream_id)
        if lane is not None:
            lane.ended = event.end_stream
        if lane is None or self._listener.data(lane, event.data):
            self._give(event.stream_id, len(event.data))

    def _give(self, number: int, amount: int) -> None:
        try:
            self._wire.acknowledge_received_data(amount, number)
        except (ngh2.NGH2Error, ValueError):
            return  # the stream or the connection is gone: nothing to open

    def acknowledge(self, lane: Lane, amount: int) -> None:
        self._give(lane.number, amount)

    def answer(self, lane: Lane, message: bytes) -> None:
        if lane.gone:
            return
        try:
            self._wire.send_response(lane.number, status.RESPONSE)
            self._wire.send_data(lane.number, frame(message))
            self._wire.send_trailers(lane.number, status.FINE)
        except ngh2.NGH2Error:
            return  # RST_STREAM came in the same read
        finally:
            self._ended(lane)

    def begin(self, lane: Lane) -> None:
        if lane.gone:
            return
        try:
            self._wire.send_response(lane.number, status.RESPONSE)
        except ngh2.NGH2Error:
            self._gone(lane)

    def say(self, lane: Lane, message: bytes) -> None:
        if lane.gone:
            return
        try:
            self._wire.send_data(lane.number, frame(message))
        except ngh2.NGH2Error:
            self._gone(lane)

    def end(self, lane: Lane, headers: status.Headers) -> None:
        if lane.gone:
            return
        try:
            if headers[0][0] == b":status":
                self._wire.send_response(lane.number, headers, end_stream=True)
            else:
                self._wire.send_trailers(lane.number, headers)
        except ngh2.NGH2Error:
            return  # RST_STREAM came in the same read
        finally:
            self._ended(lane)

    def _ended(self, lane: Lane) -> None:
        lane.gone = True
        del self.lanes[lane.number]
        if not lane.ended:
            self._unfinished.add(lane.number)

    def _gone(self, lane: Lane) -> None:
        lane.gone = True
        del self.lanes[lane.number]
        self._listener.lost(lane)

    def queued(self, lane: Lane) -> int:
        return self._wire.queued_body_size(lane.number)

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
        return not self.lanes and not self._wire.queued_body_size() and not self.wants_output()

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
