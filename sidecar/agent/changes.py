"""A bell: whoever changes state rings it, whoever waits for a state looks again. No value travels, so none gets lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """`await until(predicate)` returns as soon as the predicate holds after some `notify()`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """State changed."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def next(self) -> None:
        """The next change."""
        await self._event.wait()

    async def until(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """True once the predicate holds, False when `timeout` seconds pass before."""
        try:
            async with asyncio.timeout(timeout):
                while not predicate():
                    await self._event.wait()
        except TimeoutError:
            return predicate()
        return True
