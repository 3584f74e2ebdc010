"""Sidecars whose pod is gone are removed: else a policy would wait for ever for pods that no longer exist.

Only silent ones are looked up, and only the API server's word counts: a pod that exists and says nothing stays, as lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from control_plane.identity.projected import is_gone
from control_plane.store.base import AdminEvent, InstanceRow, Store

SECONDS = 5.0
log = get_logger()

PodLookup = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""The pod of a namespace by its name; None when there is none. Raises DependencyError."""


class PodReaper:
    """`run` until cancelled."""

    def __init__(
        self,
        store: Store,
        lookup: PodLookup,
        *,
        live: Callable[[str], bool],
        removed: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._live = live
        self._removed = removed
        self._clock = clock

    async def run(self) -> None:
        while True:
            try:
                await self.reap()
            except BartizanError as error:
                log.warning("pods_not_looked_up", reason=str(error))
            await asyncio.sleep(SECONDS)

    async def reap(self) -> None:
        """One round. Raises DependencyError."""
        async with self._store.begin() as work:
            rows = await work.instances.all()
        for row in rows:
            if row.pod_uid and not self._live(row.instance_id):
                pod = await self._lookup(row.namespace, row.pod_name)
                if is_gone(pod, row.pod_uid):
                    await self._remove(row)

    async def _remove(self, row: InstanceRow) -> None:
        now = self._clock()
        event = AdminEvent(
            time=now,
            actor="kubernetes",
            act="instance.remove",
            target=row.instance_id,
            detail={"pod": row.pod_name, "pod_uid": row.pod_uid, "reason": "pod_gone"},
        )
        async with self._store.begin() as work:
            if not await work.instances.remove(row.instance_id, at=now):
                return
            await work.events.record(event)
        await self._removed(row.instance_id)
        log.info("instance_removed", instance_id=row.instance_id, reason="pod_gone")
