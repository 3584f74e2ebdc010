"""Single flight: callers who want the same read at the same time share one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
Key = tuple[Hashable, ...]


class _LeaderGone(Exception):
    """Who did the work was cancelled; somebody else must do it."""


class Flights:
    """Reads under way by key. Results are not kept: the next read after the end is a new one."""

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Future[Any]] = {}

    async def share(self, key: Key, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, or of the same work that another caller began already."""
        while (running := self._running.get(key)) is not None:
            try:
                shared: T = await asyncio.shield(running)
            except _LeaderGone:
                continue
            return shared
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._running[key] = future
        try:
            result = await work()
        except BaseException as error:
            future.set_exception(_LeaderGone() if isinstance(error, asyncio.CancelledError) else error)
            future.exception()  # seen here: without followers nobody else would look at it
            raise
        else:
            future.set_result(result)
            return result
        finally:
            if self._running.get(key) is future:
                del self._running[key]

    def forget(self, matches: Callable[[Key], bool]) -> None:
        """Later callers start anew instead of joining reads whose key matches."""
        for key in [key for key in self._running if matches(key)]:
            del self._running[key]
