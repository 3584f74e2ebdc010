"""Which replica moves rotations on: a lease in the store, by the store's clock, and our own view of when it ends.

A process that was stopped for a while wakes in the middle of an act. The journal refuses what it writes then; before an
act on the outside that can't be taken back it asks the store anew (`confirm`).
"""

from __future__ import annotations

import contextlib

from bartizan.errors import BartizanError, Conflict
from control_plane.store.base import Store
from control_plane.store.clock import StoreClock, boot_time

_LEASE = "rotation"
_SECONDS = 10.0
_MARGIN = 2.0


class Leadership:
    """holder: this replica's own name, the same after its restart."""

    def __init__(self, store: Store, holder: str) -> None:
        self._store = store
        self._holder = holder
        self._until = 0.0
        self._again = 0.0
        self._clock = StoreClock()

    def now(self) -> float:
        """Seconds since the epoch as the store counts them, going on evenly while we lead: neither another replica's
        clock nor setting ours, or the store's, shortens a soak or a drain.
        """
        return self._clock()

    async def ask(self) -> bool:
        """Whether this replica leads; asked of the store after a third of the lease's time. Raises DependencyError."""
        if boot_time() >= self._again:
            await self._claim()
        return self._holds()

    async def confirm(self) -> None:
        """Raises Conflict unless this replica leads right now; DependencyError when that can't be told."""
        await self._claim()
        if not self._holds():
            raise Conflict("another replica leads rotations")

    async def resign(self) -> None:
        with contextlib.suppress(BartizanError):  # then the lease ends by itself
            async with self._store.begin() as work:
                await work.leases.release(_LEASE, self._holder)

    def _holds(self) -> bool:
        return boot_time() < self._until

    async def _claim(self) -> None:
        before, held = boot_time(), self._holds()
        async with self._store.begin() as work:
            now = await work.now()
            if not held:
                self._clock.set(now)
            lease = await work.leases.acquire(_LEASE, self._holder, now=now, ttl=_SECONDS)
        self._again = before + _SECONDS / 3
        self._until = before + _SECONDS - _MARGIN if lease is not None else 0.0
