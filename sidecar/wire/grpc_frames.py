"""gRPC's length-prefixed messages: one byte of flags, four bytes of length, the message. Pure, bytes in and bytes out.

What arrives is kept as raw bytes and cut into messages one at a time, as a handler asks for them: memory is what the
peer sent, however small its messages are.
"""

from __future__ import annotations

import struct
from typing import Final

from sidecar.wire.grpc_status import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED

HEAD: Final = 5
_HEAD = struct.Struct(">xI").pack  # flags 0: not compressed
_LARGEST = 0xFFFF_FFFF


class BadFrame(Exception):
    """What arrived is no message that this end takes. `code` is the gRPC status that answers it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(message: bytes) -> bytes:
    """The message as it goes out, uncompressed."""
    return _HEAD(len(message)) + message


def whole(data: bytes, most: int) -> bytes | None:
    """The message when `data` is exactly one uncompressed message of at most `most` bytes, as most requests are."""
    size = len(data) - HEAD
    if size <= most and data[:HEAD] == _HEAD(size & _LARGEST):  # less than a head is no head
        return data[HEAD:]
    return None


class MessageReader:
    """Cuts the bytes of one stream into messages of at most `most` bytes."""

    __slots__ = ("_buffer", "_fault", "_first", "_most", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._first: bytes | None = (
            None  # a message that came whole and alone, as nearly all do; it is before the buffer
        )
        self._buffer = bytearray()
        self._size = -1  # of the message at the front, once its head is there
        self._fault: BadFrame | None = None

    def __len__(self) -> int:
        """Bytes held: those of a message that is not complete yet, and of messages that nobody took."""
        held = len(self._buffer)
        return held if self._first is None else held + HEAD + len(self._first)

    @property
    def ready(self) -> bool:
        """Whether `take` would return a message or raise."""
        if self._first is not None or self._fault is not None:
            return True
        return 0 <= self._size <= len(self._buffer) - HEAD

    @property
    def fault(self) -> BadFrame | None:
        """What `take` will raise, when it has nothing else to give."""
        return self._fault

    @property
    def more_than_one(self) -> bool:
        """Whether bytes follow the message at the front."""
        if self._first is not None:
            return bool(self._buffer)
        return 0 <= self._size < len(self._buffer) - HEAD

    def feed(self, data: bytes) -> None:
        """Take bytes as they came. After a bad head the rest means nothing and is dropped."""
        if self._fault is not None:
            return
        if not self._buffer and self._first is None:
            self._first = whole(data, self._most)
            if self._first is not None:
                return
        self._buffer += data
        if self._size < 0:
            self._read_head()

    def take(self) -> bytes | None:
        """The next message, None while it is not complete. Raises BadFrame when the messages before it are taken."""
        if self._first is not None:
            message, self._first = self._first, None
            return message
        if self._fault is not None:
            raise self._fault
        size = self._size
        if not 0 <= size <= len(self._buffer) - HEAD:
            return None
        with memoryview(self._buffer) as view:
            message = bytes(view[HEAD : HEAD + size])
        del self._buffer[: HEAD + size]
        self._read_head()
        return message

    def clear(self) -> None:
        """Forget everything."""
        self._first = None
        self._drop()

    def _drop(self) -> None:
        self._buffer = bytearray()
        self._size = -1

    def _read_head(self) -> None:
        self._size = -1
        buffer = self._buffer
        if buffer and buffer[0] != 0:
            if buffer[0] == 1:
                self._refuse(UNIMPLEMENTED, "compressed messages are not taken")
            else:
                self._refuse(INTERNAL, "malformed message")
        elif len(buffer) >= HEAD:
            size = int.from_bytes(buffer[1:HEAD], "big")
            if size > self._most:
                self._refuse(RESOURCE_EXHAUSTED, f"a message of {size} bytes is larger than {self._most}")
            else:
                self._size = size

    def _refuse(self, code: int, message: str) -> None:
        self._fault = BadFrame(code, message)
        self._drop()
