"""The only creator of asyncio tasks: every task has a name, an owner and a place where its error ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


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
