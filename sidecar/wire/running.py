"""What connections share, and a handler on its way: who drives it, and what it waits for.

A handler that waits for its peer alone (its next message, room for a reply) needs no task: http2_protocol.py sends it on
where that came. With its first wait for anything else it becomes a task, and stays one.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from bartizan.tasks import Swarm
from sidecar.wire.grpc_call import Budget, Method, Stream
from sidecar.wire.http2_seam import Sessions

if TYPE_CHECKING:
    from sidecar.wire.http2_protocol import Http2Protocol

T = TypeVar("T")
_PEER: Final = object()
"""What a handler without a task hands to its driver when it waits for its peer."""


@dataclass(slots=True, kw_only=True)
class Server:
    """What all connections of an engine share."""

    sessions: Sessions
    max_message: int
    max_calls: int
    max_connections: int
    budget: Budget
    swarm: Swarm
    running: int = 0
    """Handlers of all connections that wait."""
    methods: dict[bytes, Method] = field(default_factory=dict)
    connections: set[Http2Protocol] = field(default_factory=set)


class Running:
    """A handler that waits, and the messages that it reads. `over` is called at its end."""

    __slots__ = ("_context", "_future", "_over", "_stream", "_swarm", "_take", "_waits", "_work", "task")

    def __init__(
        self,
        stream: Stream,
        swarm: Swarm,
        take: Callable[[Stream], bytes | None],
        over: Callable[[Stream, BaseException | None], None],
        context: Context | None = None,
    ) -> None:
        self._stream = stream
        self._context = context or copy_context()
        self._swarm = swarm
        self._take = take
        self._over = over
        self._work: Coroutine[Any, Any, None] | None = None
        self._waits: Literal["", "message", "room"] = ""
        self._future: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Drive a handler up to its first wait."""
        self._work = work
        self._go_on(work.send, None)

    def become_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with a handler that waits for something else than its peer."""
        self._work = None
        task = self._swarm.start(work, name=self._stream.method.name, context=self._context)
        self.task = task
        task.add_done_callback(self._task_over)

    def _go_on(self, step: Callable[[Any], Any], value: Any) -> None:
        """Drive the handler up to its next wait."""
        work = self._work
        assert work is not None
        try:
            waits_for = self._context.run(step, value)
        except StopIteration:
            self._over(self._stream, None)
        except BaseException as error:
            self._over(self._stream, error)
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            if waits_for is not _PEER:
                self._waits = ""
                self.become_task(rest(work, waits_for))

    def _task_over(self, task: asyncio.Task[None]) -> None:
        self._over(self._stream, None if task.cancelled() else task.exception())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    @types.coroutine
    def __anext__(self) -> Generator[Any, Any, bytes]:
        stream = self._stream
        while True:
            if stream.reader is not None and (message := self._take(stream)) is not None:
                return message
            if stream.ended and not stream.finished:
                raise StopAsyncIteration
            # of a call that is gone: until the cancellation that is on its way
            message = yield from self._wait("message")
            if message is not None:
                return message

    @types.coroutine
    def until_drained(self) -> Generator[Any, Any, None]:
        """Until the peer has taken replies. Messages that come meanwhile do not end this wait."""
        yield from self._wait("room")

    def _wait(self, what: Literal["message", "room"]) -> Generator[Any, Any, bytes | None]:
        """Until `say`, `resume` or `drained`; the message that `say` brought."""
        self._waits = what
        try:
            if self.task is None:
                said: bytes | None = yield _PEER
                return said
            self._future = asyncio.get_running_loop().create_future()
            yield from self._future
            return None
        finally:
            self._waits, self._future = "", None

    def say(self, message: bytes) -> bool:
        """The message that it waits for, without a way around; False when it does not wait for one here."""
        if self._waits != "message" or self._work is None:
            return False
        self._go_on(self._work.send, message)
        return True

    def resume(self) -> None:
        """A message came, or the end of all."""
        self._wake("message")

    def drained(self) -> None:
        """The peer has taken replies."""
        self._wake("room")

    def _wake(self, what: Literal["message", "room"]) -> None:
        if self._waits != what:
            return
        if self._future is None:
            if self._work is not None:
                self._go_on(self._work.send, None)
        elif not self._future.done():
            self._future.set_result(None)

    def cancel(self) -> None:
        """Nobody waits for the handler any more."""
        if self.task is not None:  # after its first step, so that the handler learns of it
            asyncio.get_running_loop().call_soon(self.task.cancel)
        elif self._work is not None:
            # the class: an instance would hold the frames that it went through, of which one held the instance
            self._go_on(self._work.throw, asyncio.CancelledError)

    def close(self) -> None:
        """The handler is over. Its task keeps a cancellation with all frames that it went through, and those hold this:
        a circle of 10 KB for every client that went away, which the garbage collector would find late.
        """
        self.task = self._work = None


def unwatch(stream: Stream) -> None:
    """Its deadline does not matter any more, or somebody else keeps it."""
    if stream.timer is not None:
        stream.timer.cancel()
        stream.timer = None


@types.coroutine
def rest(work: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
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
            value: T = answer.value
            return value


def give_up(work: Coroutine[Any, Any, Any], waits_for: Any) -> None:
    """End a coroutine that was driven to its first wait, as its task's cancellation would: what it waits for ends too, and
    it leaves its evidence.
    """
    if isinstance(waits_for, asyncio.Future):
        waits_for.cancel()
    with suppress(Exception, asyncio.CancelledError):  # of nobody but this coroutine
        work.throw(asyncio.CancelledError())
        work.close()  # it waits again
