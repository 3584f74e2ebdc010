"""A bell that counts: whoever changes state rings it, whoever waits names the last ring that it knows of.

No value travels, so none gets lost; and a ring while the waiter was busy is not lost either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bartizan import tasks


class Changes:
    """`await until(predicate)` returns as soon as the predicate holds after some `notify()`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.generation = 0
        """How often it rang. Read it before looking at the state, then wait with `after`."""

    def notify(self) -> None:
        """State changed."""
        self.generation += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def after(self, seen: int) -> None:
        """Until there was a change after generation `seen`; at once when there was one already."""
        while self.generation == seen:
            await self._event.wait()

    async def until(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """True once the predicate holds, False when `timeout` seconds pass before."""
        try:
            async with tasks.timeout(timeout):
                while not predicate():
                    await self._event.wait()
        except TimeoutError:
            return predicate()
        return True
