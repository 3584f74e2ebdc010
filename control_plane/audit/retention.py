"""Old decision records and sidecars removed long ago go after their time, a bounded piece at a time so that nobody waits long for the store.

That evidence was deleted, how much and up to when, is itself an admin event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from control_plane.store.base import AdminEvent, Store, Work

DAY = 86400.0
PIECE = 1000
_FIRST, _EVERY, _BETWEEN = 60.0, 3600.0, 0.05

log = get_logger()


class Retention:
    """Keeps records, and removed sidecars, for `days`; 0 keeps them for ever. Every replica may run it."""

    def __init__(self, store: Store, days: int, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._days = days
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        pause = _FIRST
        while True:
            await asyncio.sleep(pause)
            pause = _EVERY
            try:
                await self.expire()
            except BartizanError as error:
                log.warning("audit_not_expired", reason=str(error))

    async def expire(self, piece: int = PIECE) -> int:
        """Delete what is too old now; returns how many records went. Raises DependencyError."""
        if not self._days:
            return 0
        before = self._clock() - self._days * DAY

        async def records(work: Work) -> int:
            deleted = await work.audit.purge(before=before, limit=piece)
            if deleted:
                # In the same transaction as the deletion: no record, no act.
                await work.events.record(
                    AdminEvent(
                        time=self._clock(),
                        actor="control-plane",
                        act="audit.expire",
                        target="audit",
                        detail={"deleted": deleted, "before": before},
                    )
                )
            return deleted

        async def instances(work: Work) -> int:
            return await work.instances.purge(before=before, limit=piece)

        gone = await self._piece_by_piece(records, piece)
        # Their last records are gone with them, and that they came and went is in the events.
        await self._piece_by_piece(instances, piece)
        if gone:
            log.info("audit_expired", count=gone)
        return gone

    async def _piece_by_piece(self, purge: Callable[[Work], Awaitable[int]], piece: int) -> int:
        gone = 0
        while True:
            async with self._store.begin() as work:
                deleted = await purge(work)
            gone += deleted
            if deleted < piece:
                return gone
            await asyncio.sleep(_BETWEEN)
