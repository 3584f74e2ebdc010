"""A peer's bytes -> whole HTTP/2 frames that obey what each frame must by itself (RFC 9113 §4 and §6). Pure.

Padding, priorities and the pieces of header blocks end here. http2_session.py knows what frames mean to streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidecar.wire import http2_frames as h2
from sidecar.wire.http2_frames import (
    END_HEADERS,
    END_STREAM,
    HEAD_SIZE,
    LARGEST_FRAME,
    NUMBER,
    ConnectionBroken,
)
from sidecar.wire.http2_limits import MOST_HEADERS

Frame = tuple[int, int, int, bytes, bytes]
"""Kind, flags, stream, payload; the last is a CALL's body."""
CALL: Final = 0x100
"""A header block and the one frame with the whole body that follows it, as most unary calls come."""
PADDING: Final = 0x101
"""Bytes of a stream that say nothing; how many stands for the flags."""

_MOST_EMPTY: Final = 1000
"""Frames in a row that carry nothing: of DATA, of header blocks."""
_OF_A_STREAM: Final = frozenset({h2.DATA, h2.HEADERS, h2.PRIORITY, h2.RST_STREAM, h2.CONTINUATION})
_OF_THE_CONNECTION: Final = frozenset({h2.SETTINGS, h2.PING, h2.GOAWAY})
_PLAIN: Final = {h2.DATA: h2.END_STREAM, h2.HEADERS: h2.END_HEADERS | h2.END_STREAM}
"""Flags of frames that carry all their bytes as they are, as nearly all do; the stream may go on or end."""
_SIZES: Final = {h2.PRIORITY: 5, h2.RST_STREAM: 4, h2.PING: 8, h2.WINDOW_UPDATE: 4}


class FrameReader:
    """Reads one connection."""

    __slots__ = ("_begun", "_between", "_empty", "_greeted", "_open", "_rest")

    def __init__(self) -> None:
        self._greeted = False  # the preface came
        self._begun = False  # and the settings after it
        self._rest = b""
        self._open: tuple[int, int, bytearray] | None = (
            None  # flags and stream of a header block, and what came of it
        )
        self._between = False  # the settings came, and no header block goes on
        self._empty = 0

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes. Raises ConnectionBroken."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size, head = 0, len(data), h2.head
        if not self._greeted:
            at = self._greet(data)
            if not at:
                self._rest = data
                return
        while size - at >= HEAD_SIZE:
            word, flags, number = head(data, at)
            kind, length, start = word & 0xFF, word >> 8, at + HEAD_SIZE
            if length > LARGEST_FRAME:
                raise ConnectionBroken(h2.FRAME_SIZE_ERROR)
            if start + length > size:
                break
            at = start + length
            if self._between and length and flags | END_STREAM == _PLAIN.get(kind) and 0 < number <= NUMBER:
                self._empty = 0
                if flags == END_HEADERS and size - at > HEAD_SIZE:
                    word, flags, next_number = head(data, at)
                    length = word >> 8
                    end = at + HEAD_SIZE + length
                    if (
                        not word & 0xFF
                        and flags == END_STREAM
                        and next_number == number
                        and 0 < length <= LARGEST_FRAME
                        and end <= size
                    ):
                        yield CALL, flags, number, data[start:at], data[at + HEAD_SIZE : end]
                        at = end
                        continue
                    flags = END_HEADERS
                yield kind, flags, number, data[start:at], b""
            else:
                yield from self._checked(kind, flags, number & NUMBER, data[start:at])
        self._rest = data[at:]

    def _greet(self, data: bytes) -> int:
        """Where frames begin; 0 while the preface is not all here."""
        preface = h2.PREFACE
        if data[: len(preface)] != preface[: len(data)]:
            raise ConnectionBroken(h2.PROTOCOL_ERROR)
        if len(data) < len(preface):
            return 0
        self._greeted = True
        return len(preface)

    def _checked(self, kind: int, flags: int, number: int, payload: bytes) -> Iterator[Frame]:
        """A frame, if it is one by itself: a header block may go on in the next."""
        length = len(payload)
        if not self._begun:
            rule(kind == h2.SETTINGS and not flags & h2.ACK)
            self._begun = self._between = True
        rule(self._open is None or (kind == h2.CONTINUATION and number == self._open[1]))
        if kind in _OF_A_STREAM:
            rule(number)
        elif kind in _OF_THE_CONNECTION:
            rule(not number)
        rule(length == _SIZES.get(kind, length), h2.FRAME_SIZE_ERROR)
        if kind == h2.HEADERS:
            if flags & h2.PADDED:
                payload = _unpadded(payload)
            if flags & h2.WITH_PRIORITY:
                rule(len(payload) >= _SIZES[h2.PRIORITY], h2.FRAME_SIZE_ERROR)
                payload = payload[_SIZES[h2.PRIORITY] :]
            if not flags & h2.END_HEADERS:
                self._open = flags, number, bytearray(payload)
                self._between = False
                return
        elif kind == h2.CONTINUATION:
            yield from self._continued(flags, number, payload)
            return
        elif kind == h2.DATA:
            if not (length or flags & h2.END_STREAM):
                self._nothing()
            if flags & h2.PADDED:
                payload = _unpadded(payload)
                yield PADDING, length - len(payload), number, b"", b""
        yield kind, flags, number, payload, b""

    def _continued(self, flags: int, number: int, payload: bytes) -> Iterator[Frame]:
        rule(self._open is not None)
        assert self._open is not None
        first, _, block = self._open
        block += payload
        rule(len(block) <= MOST_HEADERS, h2.ENHANCE_YOUR_CALM)
        if not payload:
            self._nothing()
        if not flags & h2.END_HEADERS:
            return
        self._open = None
        self._between = True
        yield h2.HEADERS, first, number, bytes(block), b""

    def _nothing(self) -> None:
        self._empty += 1
        rule(self._empty <= _MOST_EMPTY, h2.ENHANCE_YOUR_CALM)


def rule(kept: object, code: int = h2.PROTOCOL_ERROR) -> None:
    """Raises ConnectionBroken where a rule of the connection is not kept."""
    if not kept:
        raise ConnectionBroken(code)


def _unpadded(payload: bytes) -> bytes:
    rule(payload)
    rule(payload[0] < len(payload))
    return payload[1 : len(payload) - payload[0]]
