"""The worker's bounded queue of audit records: batches to the agent, and an explicit Gap where records were lost."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bartizan.telemetry import metrics
from sidecar.agent.messages import AuditBatch, HandedIn
from sidecar.audit.note import Note, encode
from sidecar.audit.record import Gap, Record

CAPACITY = 20_000
BATCH = 500
_WAIT = 0.05


@dataclass(slots=True)
class AuditQueue:
    """`put` never blocks a request. When the agent does not read, the newest records are counted as lost and one Gap
    says how many and since when; it is sent before the first record that comes after them.
    """

    send: Callable[[AuditBatch | HandedIn], Awaitable[None]]
    clock: Callable[[], float]
    instance_id: Callable[[], str]
    capacity: int = CAPACITY
    _waiting: deque[Record | Note | Gap] = field(default_factory=deque)
    _lost: int = 0
    _since: float = 0.0
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False

    def put(self, record: Record | Note) -> None:
        """Queue a record, or count it as lost when the queue is full."""
        if len(self._waiting) >= self.capacity:
            if not self._lost:
                self._since = record.time
            self._lost += 1
            metrics.AUDIT_LOST.inc()
            return
        if not self._waiting:  # else `run` was told, or takes what is there
            self._ready.set()
        if self._lost:
            self._waiting.append(self._gap())
        self._waiting.append(record)

    def _gap(self) -> Gap:
        gap = Gap(
            id=secrets.token_hex(16),
            time=self.clock(),
            since=self._since,
            lost=self._lost,
            reason="queue_full",
            instance_id=self.instance_id(),
        )
        self._lost = 0
        return gap

    def take(self) -> AuditBatch | None:
        """Up to BATCH records, oldest first; None when there are none."""
        if not self._waiting and self._lost:
            self._waiting.append(self._gap())
        if not self._waiting:
            return None
        next_one = self._waiting.popleft
        taken = [next_one() for _ in range(min(BATCH, len(self._waiting)))]
        return AuditBatch(
            records=tuple([each.encoded() if type(each) is Note else encode(each) for each in taken])
        )

    async def run(self) -> None:
        """Send until closed and empty, and then that this was all. Errors of `send` are the caller's: without its agent a worker ends."""
        while True:
            await self._ready.wait()
            if not self._closing:
                # a short wait makes batches under load; single records are still there within it
                await asyncio.sleep(_WAIT)
            closing = self._closing
            self._ready.clear()
            while (batch := self.take()) is not None:
                await self.send(batch)
            if closing:
                await self.send(HandedIn())
                return

    def close(self) -> None:
        """No more records come: `run` sends what waits and ends."""
        self._closing = True
        self._ready.set()
