"""A peer that speaks HTTP/2 frame by frame and may break every rule: blocks are HPACK literals, nothing is checked."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass
from pathlib import Path

import ngh2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, _, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED = (
    range(8)
)
COMPRESSION_ERROR, CALM = 9, 11
U32 = struct.Struct(">I")


def frame(
    kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None
) -> bytes:
    """One frame; `length` lies about its size."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """An HPACK field without index, without Huffman code (names and values below 127 bytes)."""
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


def block(path: bytes = b"/test.S/Echo", **changes: bytes | None) -> bytes:
    """A gRPC request's header block; a change of None leaves the field out. `_` stands for `-`, `p_` for `:`."""
    fields: dict[bytes, bytes | None] = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"guard",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    for name, value in changes.items():
        fields[name.replace("p_", ":").replace("_", "-").encode()] = value
    return b"".join(literal(name, value) for name, value in fields.items() if value is not None)


def message(data: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(data)) + data


def data(payload: bytes, flags: int = END_STREAM) -> bytes:
    """Body of the call on stream 1."""
    return frame(DATA, flags, 1, payload)


def opened(path: bytes = b"/test.S/Echo", **changes: bytes | None) -> bytes:
    """The call on stream 1, whose body is still to come."""
    return frame(HEADERS, END_HEADERS, 1, block(path, **changes))


def request(stream: int, data: bytes = b"hello", path: bytes = b"/test.S/Echo") -> bytes:
    """A whole unary call."""
    return frame(HEADERS, END_HEADERS, stream, block(path)) + frame(DATA, END_STREAM, stream, message(data))


@dataclass
class Answer:
    """What came on one stream."""

    headers: dict[bytes, bytes]
    data: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int | None:
        """grpc-status."""
        return int(self.headers[b"grpc-status"]) if b"grpc-status" in self.headers else None


class RawPeer:
    """One connection. A real HPACK decoder (ngh2's) reads the answers' header blocks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.streams: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.ended = False
        self.pongs = 0
        self.settings_acks = 0
        self.credit: dict[int, int] = {}
        self._shadow = ngh2.Connection(ngh2.Role.CLIENT)
        self._shadow.initiate_connection()
        self._shadow.receive_data(frame(SETTINGS))
        self._opened: set[int] = set()

    @classmethod
    async def connect(cls, socket: Path, *, hello: bool = True) -> RawPeer:
        reader, writer = await asyncio.open_unix_connection(str(socket))
        peer = cls(reader, writer)
        if hello:
            await peer.send(PREFACE, frame(SETTINGS), frame(SETTINGS, ACK))
        return peer

    async def send(self, *frames: bytes) -> None:
        """Write; a connection that the server has closed by now is no error here."""
        self.writer.write(b"".join(frames))
        try:
            await self.writer.drain()
        except ConnectionError:
            return

    async def read_frame(self) -> tuple[int, int, int, bytes] | None:
        """The next frame; None at the end of the connection."""
        try:
            async with asyncio.timeout(60):
                head = await self.reader.readexactly(9)
                size = int.from_bytes(head[:3], "big")
                payload = await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def step(self) -> bool:
        """Read one frame and note what it says; False at the end."""
        if (read := await self.read_frame()) is None:
            self.ended = True
            return False
        kind, flags, number, payload = read
        stream = self.streams.setdefault(number, Answer(headers={}))
        if kind == HEADERS:
            stream.headers |= self._decode(number, flags, payload)
        elif kind == DATA:
            stream.data += payload
        elif kind == RST_STREAM:
            stream.reset = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == PING and flags & ACK:
            self.pongs += 1
        elif kind == SETTINGS and flags & ACK:
            self.settings_acks += 1
        elif kind == WINDOW_UPDATE:
            self.credit[number] = self.credit.get(number, 0) + int.from_bytes(payload, "big")
        if kind in {HEADERS, DATA} and flags & END_STREAM:
            stream.ended = True
        return True

    def _decode(self, number: int, flags: int, payload: bytes) -> dict[bytes, bytes]:
        while number not in self._opened:
            self._opened.add(
                self._shadow.send_request(
                    (
                        (b":method", b"POST"),
                        (b":scheme", b"http"),
                        (b":path", b"/"),
                        (b":authority", b"x"),
                    )
                )
            )
            self._shadow.data_to_send()
        self._shadow.receive_data(frame(HEADERS, flags, number, payload))
        found: dict[bytes, bytes] = {}
        for event in self._shadow.events():
            if isinstance(event, (ngh2.ResponseReceived, ngh2.TrailersReceived)):
                found |= dict(event.headers)
        return found

    async def answer(self, number: int) -> Answer:
        """Wait for the end of a stream (or of the connection)."""
        async with asyncio.timeout(60):
            while True:
                stream = self.streams.get(number)
                if stream is not None and (stream.ended or stream.reset is not None):
                    return stream
                if not await self.step():
                    return self.streams.get(number, Answer(headers={}))

    async def end(self) -> None:
        """Wait until the server closes the connection."""
        async with asyncio.timeout(60):
            while await self.step():
                pass

    async def close(self) -> None:
        """Close this end."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
