"""HTTP/2's frames as bytes (RFC 9113 §4 and §6): their heads, kinds, flags, codes, and the frames that this end sends. Pure.

What is sent needs no state of header compression: each block is the same bytes every time.
"""

from __future__ import annotations

import struct
from typing import Final

from sidecar.wire import grpc_status as status

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

NUMBER: Final = 2**31 - 1
"""The bits of a stream's number, or of a window's growth: all but the reserved one."""
HEAD_SIZE: Final = 9
LARGEST_FRAME: Final = 16_384
"""Bytes of a payload, in both directions: neither end asks for more."""
LARGEST_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535

head = struct.Struct(">IBI").unpack_from
"""(Length * 256 + kind, flags, stream with its reserved bit) of the frame at an offset."""
u32 = struct.Struct(">I").unpack
setting = struct.Struct(">HI").iter_unpack
_head = struct.Struct(">IBI").pack
_with_number = struct.Struct(">IBII").pack
_message = struct.Struct(">IBIxI").pack
_goaway = struct.Struct(">IBIII").pack
_setting = struct.Struct(">HI").pack


class ConnectionBroken(Exception):
    """The peer broke a rule of the connection, which ends by GOAWAY with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def block(headers: status.Headers) -> bytes:
    """Fields as HPACK literals that no table keeps (RFC 7541 §6.2.2)."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def _text(text: bytes) -> bytes:
    return _integer(len(text)) + text


def _integer(value: int) -> bytes:
    """With a prefix of seven bits (RFC 7541 §5.1)."""
    if value < 0x7F:
        return bytes((value,))
    out = bytearray((0x7F,))
    value -= 0x7F
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def headers_frame(number: int, fields: bytes, *, ended: bool) -> bytes:
    """A whole header block. Ours are far smaller than a frame."""
    return _head(len(fields) << 8 | HEADERS, END_HEADERS | (END_STREAM if ended else 0), number) + fields


def data_frame(number: int, data: bytes) -> bytes:
    """A part of a body, at most LARGEST_FRAME."""
    return _head(len(data) << 8, 0, number) + data


def reset_frame(number: int, code: int) -> bytes:
    return _with_number(4 << 8 | RST_STREAM, 0, number, code)


def window_frame(number: int, more: int) -> bytes:
    """`more` bytes may come on a stream, or on the connection (0)."""
    return _with_number(4 << 8 | WINDOW_UPDATE, 0, number, more)


def pong_frame(payload: bytes) -> bytes:
    return _head(8 << 8 | PING, ACK, 0) + payload


def ping_frame() -> bytes:
    return _head(8 << 8 | PING, 0, 0) + bytes(8)


def goaway_frame(last: int, code: int) -> bytes:
    """No stream above `last` will be served."""
    return _goaway(8 << 8 | GOAWAY, 0, 0, last, code)


def settings_frame(settings: dict[int, int]) -> bytes:
    return _head(len(settings) * 6 << 8 | SETTINGS, 0, 0) + b"".join(
        map(_setting, settings, settings.values())
    )


def message_frame(number: int, message: bytes) -> bytes:
    """One message of gRPC's, small enough for a frame."""
    size = len(message)
    return _message(size + 5 << 8, 0, number, size) + message


SETTINGS_TAKEN: Final = _head(SETTINGS, ACK, 0)

RESPONSE: Final = b"\x88" + block(status.RESPONSE[1:])
"""`:status: 200`, which has an index, and the content type."""
FINE: Final = block(status.FINE)
_answer = struct.Struct(f">IBI{len(RESPONSE)}sIBIxI").pack
_END: Final = struct.Struct(f">IBI{len(FINE)}s").pack
_ANSWER_HEAD: Final = len(RESPONSE) << 8 | HEADERS
_END_HEAD: Final = len(FINE) << 8 | HEADERS


def answer_frames(number: int, message: bytes) -> bytes:
    """A call's one message with all around it: header block, gRPC's prefix, trailers of status 0."""
    size = len(message)
    return b"%b%b%b" % (
        _answer(_ANSWER_HEAD, END_HEADERS, number, RESPONSE, size + 5 << 8, 0, number, size),
        message,
        _END(_END_HEAD, END_HEADERS | END_STREAM, number, FINE),
    )
