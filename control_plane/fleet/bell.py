"""Waiting for the next change of the ledger, without missing one between looking and waiting, nor looking all the time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

_REST = 4.0
"""Of the time that a look takes: whoever looks again and again leaves the loop four fifths of its time."""
_LONGEST_SECONDS = 1.0


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


class Pace:
    """For one who looks after each change: a large fleet that stirs for minutes is not looked at for each of its words.

    least: seconds between two looks, however short they are.
    """

    def __init__(self, least: float = 0.0) -> None:
        self._least = least
        self._took = 0.0

    @contextlib.contextmanager
    def look(self) -> Iterator[None]:
        """The look."""
        began = asyncio.get_running_loop().time()
        yield
        self._took = asyncio.get_running_loop().time() - began

    async def rest(self) -> None:
        """Before the next one."""
        await asyncio.sleep(max(self._least, min(_LONGEST_SECONDS, _REST * self._took)))
