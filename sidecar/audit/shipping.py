"""From the bounded queue to a sink, at least once and in order; what is lost, here or before it came, becomes a Gap record.

Memory is bounded by the number and the bytes of waiting records. The control plane drops ids that it knows. What can't
be shipped before the process ends is left in the spool for the next one.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from bartizan import tasks
from bartizan.errors import DependencyRefused, DependencyUnavailable
from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from sidecar.audit.record import Gap
from sidecar.audit.sinks.base import Sink
from sidecar.audit.spool import Spool

MAX_RECORDS = 20_000
MAX_BYTES = 32 * 1024 * 1024
BATCH = 500
GATHER = 0.1

log = get_logger()


@dataclass(slots=True, kw_only=True)
class Loss:
    """Records lost of one reason that no gap tells yet."""

    since: float
    count: int = 0


class Shipping:
    """`put` never waits. `on_loss(bool)` tells when records begin and cease to get lost."""

    def __init__(
        self,
        sink: Sink,
        *,
        instance_id: Callable[[], str],
        on_loss: Callable[[bool], None] = lambda _losing: None,
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
        spool: Spool | None = None,
    ) -> None:
        self._sink = sink
        self._instance_id = instance_id
        self._on_loss = on_loss
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._losses: dict[str, Loss] = {}
        self._telling: Gap | None = None
        """Of losses that are no longer among those; kept with its id until it is stored: told again it is the same one."""
        self._some = asyncio.Event()
        self._spool = spool
        self._spooled = 0
        # The loop and the last flush must not ship, and then forget, the same records.
        self._turn = asyncio.Lock()

    async def restore(self) -> None:
        """Call it before anything is put: what the last process left comes first."""
        if self._spool is None:
            return
        left = await asyncio.to_thread(self._spool.read)
        if left is None:
            self.lose(0, "spool_unreadable")
        self.put(left or ())
        self._spooled = len(self._queue)
        if self._spooled:
            log.info("audit_spool_found", count=self._spooled)

    def put(self, records: Sequence[bytes]) -> None:
        """Take records (canonical JSON each); the newest are lost when there is no room."""
        queue, size = self._queue, sum(map(len, records))
        if len(queue) + len(records) <= self._max_records and self._bytes + size <= self._max_bytes:
            queue.extend(records)
            self._bytes += size
        else:
            self._put_what_fits(records)
        metrics.AUDIT_QUEUE.set(len(self._queue))
        self._some.set()

    def _put_what_fits(self, records: Sequence[bytes]) -> None:
        for record in records:
            if len(self._queue) >= self._max_records or self._bytes + len(record) > self._max_bytes:
                self.lose(1, "queue_full")
                continue
            self._queue.append(record)
            self._bytes += len(record)

    def lose(self, count: int, reason: str) -> None:
        """So many records are lost, 0 where nobody knows how many: a gap says so."""
        if not self._untold:
            log.error("audit_losing", reason=reason)
            self._on_loss(True)
        self._losses.setdefault(reason, Loss(since=time.time())).count += count
        metrics.AUDIT_LOST.inc(count)
        self._some.set()

    @property
    def _untold(self) -> bool:
        return bool(self._losses) or self._telling is not None

    async def run(self) -> None:
        """Until cancelled. A batch that the sink can't take waits, with a growing, jittered pause."""
        failures = 0
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER)
            self._some.clear()
            while self._queue or self._untold:
                try:
                    await self._ship()
                    failures = 0
                except DependencyUnavailable:
                    failures += 1
                    await asyncio.sleep(random.uniform(0.5, 1.0) * min(10.0, 0.2 * 2**failures))  # noqa: S311

    async def close(self, deadline: float) -> None:
        """At the end of the process: ship what is left for at most `deadline` seconds, and leave the rest in the spool."""
        try:
            async with tasks.timeout(deadline):
                while self._queue or self._untold:
                    await self._ship()
        except (TimeoutError, DependencyUnavailable):
            log.warning("audit_not_flushed", count=len(self._queue))
        if self._spool is not None and (self._queue or self._untold):
            told = [] if self._telling is None else [self._telling]
            gaps = told + [self._gap(reason, loss) for reason, loss in self._losses.items()]
            await asyncio.to_thread(self._spool.write, list(self._queue), gaps, self._instance_id())

    async def _ship(self) -> None:
        async with self._turn:
            await self._ship_next()

    async def _ship_next(self) -> None:
        batch = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
        if not batch:
            if self._untold:  # else whoever had the turn before has shipped the last
                await self._ship_gap()
            return
        try:
            stored = await self._sink.store(batch)
        except DependencyRefused as error:
            # it would be refused for ever and hold up all others; the gap says that it is missing
            log.error("audit_batch_refused", reason=str(error), count=len(batch))
            self._forget(len(batch))
            self.lose(len(batch), "refused")
            return
        self._forget(stored)
        if stored < len(batch):
            raise DependencyUnavailable("the sink took only a part")

    async def _ship_gap(self) -> None:
        if self._telling is None:
            reason = next(iter(self._losses))
            self._telling = self._gap(reason, self._losses.pop(reason))
        try:
            if not await self._sink.store([msgspec.json.encode(self._telling, order="deterministic")]):
                raise DependencyUnavailable("the sink took no gap")
        except DependencyRefused as error:
            log.error("audit_gap_refused", reason=str(error), count=self._telling.lost)
        self._telling = None
        if not self._untold:
            self._on_loss(False)

    def _gap(self, reason: str, loss: Loss) -> Gap:
        return Gap(
            id=secrets.token_hex(16),
            time=time.time(),
            since=loss.since,
            lost=loss.count,
            reason=reason,
            instance_id=self._instance_id(),
        )

    def _forget(self, count: int) -> None:
        next_one = self._queue.popleft
        self._bytes -= sum([len(next_one()) for _ in range(count)])
        if self._spooled:
            self._spooled = max(0, self._spooled - count)
            if not self._spooled and self._spool is not None:
                self._spool.clear()
        metrics.AUDIT_QUEUE.set(len(self._queue))
