"""Waiting for the next change of the ledger, without missing one between looking and waiting."""

from __future__ import annotations

import asyncio


class Bell:
    """For one event loop."""

    def __init__(self) -> None:
        self._generation = 0
        self._next = asyncio.Event()

    @property
    def generation(self) -> int:
        """Rises with every change that could matter to somebody who waits."""
        return self._generation

    def ring(self) -> None:
        self._generation += 1
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    async def changed(self, after: int) -> int:
        """The generation as soon as it is greater than `after`: read it before you look, wait with what you read."""
        while self._generation <= after:
            await self._next.wait()
        return self._generation
