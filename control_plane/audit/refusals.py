"""Requests for foreign resources as admin events: recorded behind the stream's back, over a bounded queue."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from control_plane.push.service import Refusal
from control_plane.store.base import AdminEvent, Store

logger = get_logger()

_LIMIT = 256
_AGAIN_SECONDS = 60.0
_MOST_EACH = 10
"""Of one identity within `_AGAIN_SECONDS`: it chooses the names that it asks for, and each event stays for ever."""
_REMEMBERED = 1024


class RefusalLog:
    """`record` is PushService's `refused`; keep `run` running."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: asyncio.Queue[AdminEvent] = asyncio.Queue(maxsize=_LIMIT)
        self._told: OrderedDict[str, dict[tuple[object, ...], float]] = OrderedDict()
        """By SPIFFE id: what was recorded, and when."""

    def record(self, refusal: Refusal) -> None:
        """Never blocks; what is too much is only in the log. The same again within a minute is one event."""
        now, same = self._clock(), (refusal.instance_id, refusal.type, refusal.names)
        told = self._recently_told(refusal.spiffe_id, now)
        if same in told or len(told) >= _MOST_EACH:
            return
        told[same] = now
        event = AdminEvent(
            time=now,
            actor=refusal.spiffe_id,
            act="subscription.refuse",
            target=refusal.instance_id,
            detail={"type": refusal.type, "names": list(refusal.names)},
            peer=refusal.address,
        )
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            logger.error("refusal_not_recorded", instance_id=refusal.instance_id)

    def _recently_told(self, spiffe_id: str, now: float) -> dict[tuple[object, ...], float]:
        told = self._told.setdefault(spiffe_id, {})
        self._told.move_to_end(spiffe_id)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        for same in [same for same, at in told.items() if now - at >= _AGAIN_SECONDS]:
            del told[same]
        return told

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                async with self._store.begin() as work:
                    await work.events.record(event)
            except BartizanError as error:
                logger.error("refusal_not_recorded", instance_id=event.target, reason=type(error).__name__)
