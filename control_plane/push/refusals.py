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
_REMEMBERED = 1024


class RefusalLog:
    """`record` is PushService's `refused`; keep `run` running."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: asyncio.Queue[AdminEvent] = asyncio.Queue(maxsize=_LIMIT)
        self._told: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def record(self, refusal: Refusal) -> None:
        """Never blocks; with a full queue the event is only logged. The same again within a minute is one event."""
        now, same = self._clock(), (refusal.spiffe_id, refusal.instance_id, refusal.type, refusal.names)
        if now - self._told.get(same, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
            return
        self._told[same] = now
        self._told.move_to_end(same)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        event = AdminEvent(
            time=now,
            actor=refusal.spiffe_id,
            act="subscription.refuse",
            target=refusal.instance_id,
            detail={"type": refusal.type, "names": list(refusal.names)},
            peer=refusal.address[:64],
        )
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            logger.error("refusal_not_recorded", instance_id=refusal.instance_id)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                async with self._store.begin() as work:
                    await work.events.record(event)
            except BartizanError as error:
                logger.error("refusal_not_recorded", instance_id=event.target, reason=type(error).__name__)
