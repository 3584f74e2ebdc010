"""What one connection has to send, and how much of it its peer takes now (RFC 9113 §5.2). Pure.

What is small and within the peer's windows becomes a frame at once. The rest waits as plain bytes at its stream, where it is
counted and where a reset drops it, until frames are taken.
"""

from __future__ import annotations

from typing import Final

from sidecar.wire import http2_frames as h2
from sidecar.wire.grpc_frames import HEAD, frame
from sidecar.wire.http2_seam import Lane

_ENOUGH: Final = 256 * 1024
"""Bytes of frames that are ready: more bodies wait."""
_TOO_MUCH: Final = 4 * 1024 * 1024
"""Of a peer that asks on and reads nothing."""
_MOST_RESIZED: Final = 100
"""Changes of the window of all streams between two writes: each goes through all of them."""


class Outbox:
    """Frames in their order. A stream is gone from `lanes` when both ends have ended, or one has given up."""

    __slots__ = ("_blocked", "_frames", "_ready", "_resized", "_window", "initial", "lanes")

    def __init__(self) -> None:
        self.lanes: dict[int, Lane] = {}
        self.initial = h2.DEFAULT_WINDOW
        """Of each new stream."""
        self._window = h2.DEFAULT_WINDOW
        self._blocked: dict[int, Lane] = {}  # whose bodies wait, but not for their own windows
        self._resized = 0  # since frames were taken
        self._frames: list[bytes] = []
        self._ready = 0

    def __bool__(self) -> bool:
        """Whether `take` gives something."""
        return bool(self._frames or (self._blocked and self._window > 0))

    @property
    def overfull(self) -> bool:
        """Whether the peer asks on and reads nothing: no window holds back what answers that."""
        return self._ready > _TOO_MUCH

    def put(self, made: bytes) -> None:
        """A frame that no window holds back."""
        self._frames.append(made)
        self._ready += len(made)

    def answer(self, lane: Lane, message: bytes) -> None:
        """The whole good answer of a call with one message."""
        size = len(message) + HEAD
        if size <= lane.window and self._fits(size):
            made = h2.answer_frames(lane.number, message)
            self._frames.append(made)
            self._ready += len(made)
            self._window -= size
            self._close(lane)
        else:
            self.put(h2.headers_frame(lane.number, h2.RESPONSE, ended=False))
            self.say(lane, message)
            self.end(lane, h2.FINE)

    def say(self, lane: Lane, message: bytes) -> None:
        """One message of an answer."""
        size = len(message) + HEAD
        if lane.waiting is not None:
            lane.waiting += frame(message)
        elif size <= lane.window and self._fits(size):
            self._frames.append(h2.message_frame(lane.number, message))
            self._ready += size + h2.HEAD_SIZE
            self._window -= size
            lane.window -= size
        else:
            lane.waiting = bytearray(frame(message))
            self._sort(lane)

    def _fits(self, size: int) -> bool:
        """Whether so much of a body may be a frame at once."""
        return size <= self._window and size <= h2.LARGEST_FRAME and self._ready < _ENOUGH

    def end(self, lane: Lane, fields: bytes) -> None:
        """The header block that ends our side, after the body."""
        made = h2.headers_frame(lane.number, fields, ended=True)
        if lane.waiting is not None:
            lane.end = made
        else:
            self.put(made)
            self._close(lane)

    def drop(self, lane: Lane) -> None:
        """Forget a stream that was given up, and what waits at it."""
        lane.gone = True
        self.lanes.pop(lane.number, None)
        self._blocked.pop(lane.number, None)

    def widen(self, more: int) -> None:
        """The peer takes more on the connection. Raises ConnectionBroken beyond what a window can be."""
        self._window += more
        if self._window > h2.LARGEST_WINDOW:
            raise h2.ConnectionBroken(h2.FLOW_CONTROL_ERROR)

    def widen_lane(self, lane: Lane, more: int) -> bool:
        """The peer takes more on a stream; False where that is more than a window can be."""
        lane.window += more
        self._sort(lane)
        return lane.window <= h2.LARGEST_WINDOW

    def _sort(self, lane: Lane) -> None:
        """After a change of its window, or of whether its body waits. Thousands that wait for their own windows cost `take`
        nothing.
        """
        if lane.waiting is None or lane.window <= 0:
            self._blocked.pop(lane.number, None)
        else:
            self._blocked[lane.number] = lane

    def resize(self, initial: int) -> None:
        """The peer's settings have another window for all streams (RFC 9113 §6.9.2). Raises ConnectionBroken."""
        if initial > h2.LARGEST_WINDOW:
            raise h2.ConnectionBroken(h2.FLOW_CONTROL_ERROR)
        more, self.initial = initial - self.initial, initial
        if not more:
            return
        self._resized += 1
        if self._resized > _MOST_RESIZED:
            raise h2.ConnectionBroken(h2.ENHANCE_YOUR_CALM)
        for lane in self.lanes.values():
            if not self.widen_lane(lane, more):
                raise h2.ConnectionBroken(h2.FLOW_CONTROL_ERROR)

    def take(self) -> bytes:
        """Frames in their order, b"" when there are none now."""
        if self._blocked:
            # one after the other from the one that has waited longest, so that a large one does not hold up the rest
            for lane in list(self._blocked.values()):
                if self._window <= 0 or self._ready >= _ENOUGH:
                    break
                self._pump(lane)
        if not self._frames:
            return b""
        made = b"".join(self._frames)
        self._frames.clear()
        self._ready = self._resized = 0
        return made

    def _pump(self, lane: Lane) -> None:
        """Make frames of what waits at a stream, as far as windows go."""
        waiting = lane.waiting
        assert waiting is not None
        del self._blocked[lane.number]
        while waiting and self._ready < _ENOUGH:
            size = min(len(waiting), lane.window, self._window, h2.LARGEST_FRAME)
            if size <= 0:
                break
            self._frames.append(h2.data_frame(lane.number, bytes(waiting[:size])))
            del waiting[:size]
            self._ready += size + h2.HEAD_SIZE
            self._window -= size
            lane.window -= size
        if waiting:
            self._sort(lane)
            return
        lane.waiting = None
        if lane.end:
            self.put(lane.end)
            self._close(lane)

    def _close(self, lane: Lane) -> None:
        """Our side has ended. A peer that has not is told that nobody reads the rest (RFC 9113 §8.1)."""
        lane.gone = True
        del self.lanes[lane.number]
        if not lane.ended:
            self.put(h2.reset_frame(lane.number, h2.NO_ERROR))
