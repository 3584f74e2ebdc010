"""HTTP/2 on one connection from Envoy, the server's side, sans-I/O (RFC 9113): bytes in -> what streams say, answers -> frames
out. http2_connection.py, which it tells, keeps gRPC's rules.

A broken rule of one stream resets it, one of the connection ends it by GOAWAY. Windows open only for what was taken.
"""

from __future__ import annotations

from typing import Final

from sidecar.wire import grpc_status as status
from sidecar.wire import http2_frames as h2
from sidecar.wire.http2_blocks import Blocks
from sidecar.wire.http2_frames import ConnectionBroken
from sidecar.wire.http2_limits import CONNECTION_WINDOW, MOST_FIELDS, MOST_HEADERS, STREAM_WINDOW, settings
from sidecar.wire.http2_outbox import Outbox
from sidecar.wire.http2_reader import CALL, PADDING, FrameReader, rule
from sidecar.wire.http2_seam import Lane, Listener

_HALF_A_STREAM: Final = STREAM_WINDOW // 2
_HALF_A_CONNECTION: Final = CONNECTION_WINDOW // 2
"""Windows are opened again when so much of them was taken."""


class Http2Session:
    """Implements Session. Takes at most `most_streams` at once; the others are reset (REFUSED_STREAM), which Envoy tries elsewhere."""

    def __init__(self, listener: Listener, most_streams: int) -> None:
        self.ready = False  # the peer's preface and settings came
        self.leaving = False  # the peer opens no more streams
        self.closed = False  # nothing more is read: write what `output` gives and close
        self._listener = listener
        self._most = most_streams
        self._reader = FrameReader()
        self._blocks = Blocks(MOST_HEADERS, MOST_FIELDS)
        self._plain = self._blocks.plain
        self._outbox = Outbox()
        self.lanes = self._outbox.lanes
        self._last = 0  # the highest stream that was opened
        self._refusing = False
        self._spent = 0  # bytes of bodies for which the peer got no new window
        self._taken = 0  # of them: that were taken
        self._outbox.put(h2.settings_frame(settings(most_streams)))
        self._outbox.put(h2.window_frame(0, CONNECTION_WINDOW - h2.DEFAULT_WINDOW))

    # --- from the peer

    def receive(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            for kind, flags, number, payload, body in self._reader.read(data):
                if kind == CALL:
                    self._call(number, payload, body)
                elif kind == h2.DATA:
                    self._data(number, payload, flags & h2.END_STREAM)
                elif kind == h2.HEADERS:
                    self._headers(number, payload, flags & h2.END_STREAM)
                elif kind == PADDING:
                    self._padding(number, flags)
                else:
                    self._other(kind, flags, number, payload)
            if self._outbox.overfull:
                raise ConnectionBroken(h2.ENHANCE_YOUR_CALM)
        except ConnectionBroken as broken:
            self.closed = True
            self._outbox.put(h2.goaway_frame(self._last, broken.code))

    def _call(self, number: int, raw: bytes, body: bytes) -> None:
        """A stream with its whole body. What is not plain about it takes the way of its two frames."""
        size = len(body)
        headers = self._plain.get(raw)
        if (
            headers is None
            or number <= self._last
            or not number & 1
            or self._refusing
            or len(self.lanes) >= self._most
            or self._spent + size > CONNECTION_WINDOW
        ):
            self._headers(number, raw, 0)
            self._data(number, body, h2.END_STREAM)
            return
        self._last = number
        self._spent += size
        self.lanes[number] = lane = Lane(number, self._outbox.initial, -1, True)
        answer = self._listener.called(lane, headers, body)
        if answer is not False:
            self._give(size)
            if answer is not True:
                self._outbox.answer(lane, answer)

    def _data(self, number: int, data: bytes, end: int) -> None:
        size = len(data)
        self._spent = spent = self._spent + size
        if spent > CONNECTION_WINDOW:
            raise ConnectionBroken(h2.FLOW_CONTROL_ERROR)
        lane = self.lanes.get(number)
        if lane is None:
            self._was_open(number)  # its peer does not know yet that it is over
            self._give(size)
            return
        if lane.ended:
            raise ConnectionBroken(h2.STREAM_CLOSED)
        if end:
            lane.ended = True
        lane.spent = spent = lane.spent + size
        if spent > STREAM_WINDOW:
            self._give(size)
            self._reset(lane, h2.FLOW_CONTROL_ERROR)
        elif lane.left >= 0 and self._lies(lane, size):
            self._give(size)
            self._reset(lane, h2.PROTOCOL_ERROR)
        elif self._listener.data(lane, data):
            self.acknowledge(lane, size)

    def _lies(self, lane: Lane, size: int) -> bool:
        """Whether a body has another length than its header block said."""
        lane.left -= size
        return lane.left < 0 or (lane.ended and lane.left > 0)

    def _headers(self, number: int, raw: bytes, end: int) -> None:
        if not number & 1:
            raise ConnectionBroken(h2.PROTOCOL_ERROR)
        if number <= self._last:
            self._trailers(number, raw, end)
            return
        block = self._blocks.request(raw)
        if self._refusing:
            return  # RFC 9113 §6.8: beyond the last stream that is served
        self._last = number
        if len(self.lanes) >= self._most:
            self._outbox.put(h2.reset_frame(number, h2.REFUSED_STREAM))
        elif not block.headers or (end and block.length > 0):
            self._outbox.put(h2.reset_frame(number, h2.PROTOCOL_ERROR))
        else:
            lane = self.lanes[number] = Lane(number, self._outbox.initial, block.length, bool(end))
            self._listener.requested(lane, block.headers)

    def _trailers(self, number: int, raw: bytes, end: int) -> None:
        fit = self._blocks.trailers(raw)
        lane = self.lanes.get(number)
        if lane is None:
            return  # its peer does not know yet that it is over
        rule(not lane.ended, h2.STREAM_CLOSED)
        if fit and end and lane.left <= 0:
            lane.ended = True
            self._listener.trailed(lane)
        else:
            self._reset(lane, h2.PROTOCOL_ERROR)

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        match kind:
            case h2.RST_STREAM:
                self._was_open(number)
                if (lane := self.lanes.get(number)) is not None:
                    self._outbox.drop(lane)
                    self._listener.lost(lane)
            case h2.WINDOW_UPDATE:
                self._widen(number, h2.u32(payload)[0] & h2.NUMBER)
            case h2.SETTINGS:
                self._settings(flags, payload)
            case h2.PING if flags & h2.ACK:
                self._listener.ponged()
            case h2.PING:
                self._outbox.put(h2.pong_frame(payload))
            case h2.GOAWAY:
                rule(len(payload) >= 8, h2.FRAME_SIZE_ERROR)
                self.leaving = True
            case h2.PUSH_PROMISE:
                rule(kept=False)
            case _:
                return  # priorities are not followed (RFC 9113 §5.3.2), unknown kinds mean nothing (§5.5)

    def _padding(self, number: int, size: int) -> None:
        """It counts as data does, and is taken at once."""
        self._spent += size
        rule(self._spent <= CONNECTION_WINDOW, h2.FLOW_CONTROL_ERROR)
        lane = self.lanes.get(number)
        if lane is None:
            self._give(size)
        else:
            lane.spent += size
            self.acknowledge(lane, size)

    def _widen(self, number: int, more: int) -> None:
        if not number:
            rule(more)
            self._outbox.widen(more)
            return
        self._was_open(number)
        lane = self.lanes.get(number)
        if lane is not None and not more:
            self._reset(lane, h2.PROTOCOL_ERROR)
        elif lane is not None and not self._outbox.widen_lane(lane, more):
            self._reset(lane, h2.FLOW_CONTROL_ERROR)

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & h2.ACK:
            rule(not payload, h2.FRAME_SIZE_ERROR)
            return
        rule(not len(payload) % 6, h2.FRAME_SIZE_ERROR)
        for name, value in h2.setting(payload):
            if name == h2.INITIAL_WINDOW_SIZE:
                self._outbox.resize(value)
            elif name == h2.ENABLE_PUSH:
                rule(value <= 1)
            elif name == h2.MAX_FRAME_SIZE:
                rule(h2.LARGEST_FRAME <= value < 1 << 24)
        self._outbox.put(h2.SETTINGS_TAKEN)
        self.ready = True

    def _was_open(self, number: int) -> None:
        """Not an idle stream: of those nothing can be said (RFC 9113 §5.1)."""
        rule(number & 1 and (number <= self._last or self._refusing))

    def _reset(self, lane: Lane, code: int) -> None:
        self._outbox.drop(lane)
        self._outbox.put(h2.reset_frame(lane.number, code))
        self._listener.lost(lane)

    # --- to the peer

    def acknowledge(self, lane: Lane, amount: int) -> None:
        self._taken = taken = self._taken + amount
        if taken >= _HALF_A_CONNECTION:
            self._give(0)
        if not lane.ended:
            lane.taken = taken = lane.taken + amount
            if taken >= _HALF_A_STREAM and not lane.gone:
                self._outbox.put(h2.window_frame(lane.number, taken))
                lane.spent -= taken
                lane.taken = 0

    def _give(self, amount: int) -> None:
        """Bytes were taken, or mean nothing to any stream."""
        self._taken += amount
        if self._taken >= _HALF_A_CONNECTION:
            self._outbox.put(h2.window_frame(0, self._taken))
            self._spent -= self._taken
            self._taken = 0

    def answer(self, lane: Lane, message: bytes) -> None:
        if not lane.gone:
            self._outbox.answer(lane, message)

    def begin(self, lane: Lane) -> None:
        if not lane.gone:
            self._outbox.put(h2.headers_frame(lane.number, h2.RESPONSE, ended=False))

    def say(self, lane: Lane, message: bytes) -> None:
        if not lane.gone:
            self._outbox.say(lane, message)

    def end(self, lane: Lane, headers: status.Headers) -> None:
        if not lane.gone:
            self._outbox.end(lane, h2.FINE if headers is status.FINE else h2.block(headers))

    def queued(self, lane: Lane) -> int:
        return 0 if lane.waiting is None else len(lane.waiting)

    def output(self) -> bytes:
        return self._outbox.take()

    def wants_output(self) -> bool:
        return bool(self._outbox)

    def idle(self) -> bool:
        return not self.lanes and not self._outbox

    def notice(self) -> None:
        self._outbox.put(h2.goaway_frame(h2.NUMBER, h2.NO_ERROR))
        self._outbox.put(h2.ping_frame())

    def refuse_more(self) -> None:
        self._refusing = True
        self._outbox.put(h2.goaway_frame(self._last, h2.NO_ERROR))
