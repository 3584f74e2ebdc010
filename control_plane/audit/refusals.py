"""What an authenticated sidecar or admin was refused, as admin events: recorded behind the caller's back, over a bounded queue."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from control_plane.store.base import AdminEvent, Store

logger = get_logger()

_LIMIT = 256
_AGAIN_SECONDS = 60.0
_MOST_EACH = 10
"""Of one actor within `_AGAIN_SECONDS`: it chooses the names that it asks for, and each event stays for ever."""
_REMEMBERED = 1024


class RefusalLog:
    """Who refuses calls `record`; keep `run` running."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: asyncio.Queue[AdminEvent] = asyncio.Queue(maxsize=_LIMIT)
        self._told: OrderedDict[str, dict[bytes, float]] = OrderedDict()
        """By actor: what was recorded, and when."""

    def record(self, event: AdminEvent) -> None:
        """Never blocks; what is too much is only in the log. The same again within a minute is one event."""
        same = msgspec.json.encode((event.act, event.target, event.detail))
        told = self._recently_told(event.actor, event.time)
        if same in told or len(told) >= _MOST_EACH:
            return
        told[same] = event.time
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            logger.error("refusal_not_recorded", act=event.act, target=event.target)

    def _recently_told(self, actor: str, now: float) -> dict[bytes, float]:
        told = self._told.setdefault(actor, {})
        self._told.move_to_end(actor)
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
                logger.error(
                    "refusal_not_recorded", act=event.act, target=event.target, reason=type(error).__name__
                )
