"""The only creator of asyncio tasks: every task has a name, an owner and a place where its error ends.

Groups and timeouts are asyncio's with what later releases of Python mended: a cancellation is never lost, and none is
made up. Debian 12 comes with 3.11.2.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


def _asked() -> int:
    """How many cancellations of this task are asked for and not yet taken back."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


class Group(asyncio.TaskGroup):
    """asyncio.TaskGroup as in Python 3.13 (gh-116720): before, a task whose group failed while it waited for its members
    counted as cancelled ever after, and one that was cancelled while its group failed went on as if nobody had asked.
    """

    _parent_cancel_requested: (
        bool  # asyncio's, up to 3.12 as in 3.11.0: the group itself has cancelled its task
    )

    async def __aenter__(self) -> Self:
        self._asked_before = _asked()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        taken_back = self._parent_cancel_requested
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup:
            if sys.version_info < (3, 13):
                self._settle(own=self._parent_cancel_requested and not taken_back)
            raise

    def _settle(self, *, own: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        if own:
            task.uncancel()
        if task.cancelling() > self._asked_before:
            # Somebody else's: the failure came first, the cancellation comes at the next wait.
            task.uncancel()
            task.cancel()


class Timeout:
    """asyncio.Timeout as from Python 3.11.3 on (gh-102780): before, one that ran out in a task that was being cancelled, or
    that counted as such, raised CancelledError.
    """

    def __init__(self, when: float | None) -> None:
        self._inner = asyncio.Timeout(when)
        self._asked_before = 0

    async def __aenter__(self) -> Self:
        self._asked_before = _asked()
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)
        ours = self._inner.expired() and isinstance(error, asyncio.CancelledError)
        if ours and _asked() <= self._asked_before:
            raise TimeoutError from error

    def end(self) -> None:
        """While its body runs: the time is over now."""
        if not self._inner.expired():
            self._inner.reschedule(asyncio.get_running_loop().time())


def timeout(seconds: float | None) -> Timeout:
    """For `async with`: raises TimeoutError when its body takes longer; None: it may take for ever."""
    return Timeout(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def timeout_at(when: float) -> Timeout:
    """The same up to a moment of the loop's clock."""
    return Timeout(when)


def start(group: asyncio.TaskGroup, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start work in the process's group: its failure ends the group, and so the process."""
    return group.create_task(work, name=name)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end; their own cancellation is expected, other errors are raised."""
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def finish(work: Coroutine[Any, Any, T], *, name: str) -> T:
    """The work's result or error. Whoever is cancelled meanwhile is so when the work has ended, not in its middle."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    stopped = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            stopped = True
    if stopped:
        if not task.cancelled():
            task.exception()  # seen
        raise asyncio.CancelledError
    return task.result()


class Shelter:
    """For work that must come to its end once it has begun, also when whoever asked for it is gone by then."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """The work's result or error. Cancelling the caller does not cancel the work."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self, seconds: float) -> None:
        """Let what runs come to its end for that long, then cancel it."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
            await cancel(*self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Looked at here, so that an error whose caller is gone is not reported as forgotten.
            task.exception()


class Swarm:
    """Many short tasks with one owner, for servers: each takes care of its own errors, none outlives `close`."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(
        self, work: Coroutine[Any, Any, None], *, name: str, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Run work on its own. It must not raise: an error that gets here goes to the loop's exception handler."""
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def close(self, seconds: float) -> None:
        """Let what runs come to its end for that long, then cancel it and wait for that."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
            await cancel(*self._running)
