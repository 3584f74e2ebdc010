"""Framing between agent and guard worker: 4-byte big-endian length + one message over an inherited socket pair.

The agent writes JSON, as it hands on documents of others, whose numbers have no bounds. The worker writes MessagePack:
records and spans are bytes, which JSON would take as base64, at 17,000 instructions for each record. A frame that is too long, cut off or no message of
the union is a ProtocolViolation: both sides are ours, so there is nothing to recover, the worker is started anew.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from bartizan.errors import ProtocolViolation
from sidecar.agent.messages import AgentMessage, WorkerMessage

MAX_FRAME = 64 * 1024 * 1024
_LENGTH = 4
_READ = 256 * 1024

S = TypeVar("S")
R = TypeVar("R")


class Channel(Generic[S, R]):
    """One end. `send` may be called by several tasks at once, `receive` by one."""

    def __init__(
        self, sock: socket.socket, encode: Callable[[S], bytes], decode: Callable[[bytes], R]
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._encode = encode
        self._decode = decode
        self._buffer = bytearray()
        self._sending = asyncio.Lock()
        self._closed = False

    @staticmethod
    def agent_side(sock: socket.socket) -> Channel[AgentMessage, WorkerMessage]:
        """Sends AgentMessage, receives WorkerMessage."""
        return Channel(sock, msgspec.json.encode, msgspec.msgpack.Decoder(WorkerMessage).decode)

    @staticmethod
    def worker_side(sock: socket.socket) -> Channel[WorkerMessage, AgentMessage]:
        """Sends WorkerMessage, receives AgentMessage."""
        return Channel(sock, msgspec.msgpack.encode, msgspec.json.Decoder(AgentMessage).decode)

    async def send(self, message: S) -> None:
        """Write one message. Raises ProtocolViolation when it is too long, ConnectionError when the peer is gone."""
        body = self._encode(message)
        if len(body) > MAX_FRAME:
            raise ProtocolViolation(f"a message of {len(body)} bytes exceeds the channel's {MAX_FRAME}")
        async with self._sending:
            if self._closed:
                raise ConnectionResetError("channel closed")
            try:
                await asyncio.get_running_loop().sock_sendall(
                    self._sock, len(body).to_bytes(_LENGTH, "big") + body
                )
            except asyncio.CancelledError:
                # half a frame may be out: what follows could not be read any more
                self.close()
                raise

    async def receive(self) -> R | None:
        """The next message, or None when the peer closed its end between two messages."""
        if not await self._fill(_LENGTH):
            return None
        length = int.from_bytes(self._buffer[:_LENGTH], "big")
        if length > MAX_FRAME:
            raise ProtocolViolation(f"a frame of {length} bytes exceeds the channel's {MAX_FRAME}")
        if not await self._fill(_LENGTH + length):
            raise ProtocolViolation("the channel ended inside a frame")
        body = bytes(self._buffer[_LENGTH : _LENGTH + length])
        del self._buffer[: _LENGTH + length]
        try:
            return self._decode(body)
        except msgspec.MsgspecError as error:
            raise ProtocolViolation("a frame holds no message of this channel") from error

    async def _fill(self, wanted: int) -> bool:
        """Read until the buffer holds `wanted` bytes; False at a clean end of stream."""
        loop = asyncio.get_running_loop()
        while len(self._buffer) < wanted:
            try:
                data = b"" if self._closed else await loop.sock_recv(self._sock, _READ)
            except ConnectionResetError:
                data = b""
            if not data:
                if self._buffer:
                    raise ProtocolViolation("the channel ended inside a frame")
                return False
            self._buffer += data
        return True

    def close(self) -> None:
        """Close this end; the peer reads the end of the stream."""
        if not self._closed:
            self._closed = True
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._sock.fileno())
            loop.remove_writer(self._sock.fileno())
            self._sock.close()
