"""In which order one connection's unary calls are answered: many in one read wait for each other, not for the socket.

The socket is read in between, so that cancellations are seen before work is done for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.wire.grpc_call import Stream

TURN: Final = 32
"""Calls answered between two reads."""
_MOST_WAITING: Final = 256 * 1024  # bytes of a message that waits for its turn


class Turns:
    """`drive` answers one call; `flush` writes what a turn made."""

    def __init__(
        self,
        drive: Callable[[Stream, bytes], None],
        flush: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._drive = drive
        self._flush = flush
        self._clock = clock
        self._left = TURN
        self._waiting: deque[tuple[Stream, bytes]] = deque()

    def new_read(self) -> None:
        """Bytes are there: as many calls as one turn has may be answered where they stand."""
        self._left = TURN

    def now(self, stream: Stream, message: bytes) -> bool:
        """Whether a unary call may be answered where it stands. Those that many others in the same read stand before are
        driven in their turn.
        """
        if self._left and not self._waiting:
            self._left -= 1
            return True
        if len(message) > _MOST_WAITING:
            return True
        if not self._waiting:
            self._soon()
        self._waiting.append((stream, message))
        return False

    def _turn(self) -> None:
        for _ in range(min(TURN, len(self._waiting))):
            stream, message = self._waiting.popleft()
            if not stream.finished:
                if stream.due is not None:
                    stream.call = msgspec.structs.replace(stream.call, deadline=stream.due - self._clock())
                self._drive(stream, message)
        self._flush()
        if self._waiting:
            self._soon()

    def _soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._turn)
