"""What connections share, and a handler that waits: what its task needs from the connection while it runs."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from bartizan.tasks import Swarm
from sidecar.wire.grpc_call import Budget, Method, Stream

if TYPE_CHECKING:
    from sidecar.wire.http2_protocol import Http2Protocol


@dataclass(slots=True, kw_only=True)
class Server:
    """What all connections of an engine share."""

    max_message: int
    max_calls: int
    max_connections: int
    budget: Budget
    swarm: Swarm
    methods: dict[bytes, Method] = field(default_factory=dict)
    connections: set[Http2Protocol] = field(default_factory=set)


class Running:
    """A handler that waits: its task, and the messages that it reads."""

    __slots__ = ("_drained", "_stream", "_take", "_waiter", "task")

    def __init__(self, stream: Stream, take: Callable[[Stream], bytes | None]) -> None:
        self._stream = stream
        self._take = take
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    def __aiter__(self) -> Running:
        return self

    async def __anext__(self) -> bytes:
        while True:
            message = self._take(self._stream)
            if message is not None:
                return message
            if self._stream.ended and not self._stream.finished:
                raise StopAsyncIteration
            await self.wait()  # of a call that is gone: until the cancellation that is on its way

    async def wait(self) -> None:
        """Until `resume`."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def resume(self) -> None:
        """A message came, or the end of all."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cancel(self) -> None:
        """Nobody waits for the handler any more."""
        if self.task is not None:
            self.task.cancel()

    def close(self) -> None:
        """The handler is over. Its task keeps a cancellation with all frames that it went through, and those hold this:
        a circle of 10 KB for every client that went away, which the garbage collector would find late.
        """
        self.task = None

    async def until_drained(self) -> None:
        """Until the peer has taken replies. Messages that come meanwhile do not end this wait."""
        self._drained = asyncio.get_running_loop().create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def drained(self) -> None:
        """The peer has taken replies."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)


def unwatch(stream: Stream) -> None:
    """Its deadline does not matter any more, or somebody else keeps it."""
    if stream.timer is not None:
        stream.timer.cancel()
        stream.timer = None


@types.coroutine
def rest(work: Coroutine[Any, Any, bytes], waits_for: Any) -> Generator[Any, Any, bytes]:
    """Go on with a coroutine that was driven to its first wait."""
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:
                waits_for = work.throw(error)
            else:
                waits_for = work.send(sent)
        except StopIteration as answer:
            return cast("bytes", answer.value)
