"""The worker's bounded queue of finished spans: batches as OTLP to the agent, beside its audit records.

A decision is queued as it is, for a tenth of what the SDK's span objects cost; an agent that does not read costs spans,
never requests. What encodes them is imported with the first: a worker without tracing has no need of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from sidecar.agent.messages import SpanBatch
from sidecar.wire.trace import DecisionSpans

MOST: Final = 2048
"""Decisions that wait; the oldest are dropped."""
BATCH: Final = 512
_GATHER = 0.2  # seconds for which decisions are gathered

log = get_logger()


@dataclass(slots=True)
class SpanQueue:
    """`put` never waits, on the loop's thread; `run` sends, and after `close` what waits."""

    send: Callable[[SpanBatch], Awaitable[None]]
    _waiting: deque[DecisionSpans] = field(default_factory=lambda: deque(maxlen=MOST))
    _some: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False

    def put(self, spans: DecisionSpans) -> None:
        """Queue the spans of one decision."""
        if len(self._waiting) == MOST:
            metrics.SPANS_DROPPED.labels("worker_queue_full").inc()
        self._waiting.append(spans)
        if not self._some.is_set():
            self._some.set()

    async def run(self) -> None:
        """Send until closed and empty. Errors of `send` are the caller's: without its agent a worker ends."""
        while True:
            await self._some.wait()
            if not self._closing:
                await asyncio.sleep(_GATHER)
            closing = self._closing
            self._some.clear()
            while self._waiting:
                count = min(BATCH, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                if encoded := await asyncio.to_thread(_encoded, batch):
                    await self.send(SpanBatch(request=encoded))
            if closing:
                return

    def close(self) -> None:
        """No more spans come: `run` sends what waits and ends."""
        self._closing = True
        self._some.set()


def _encoded(batch: Sequence[DecisionSpans]) -> bytes:
    from sidecar.wire.span_export import encode

    try:
        return encode(batch)
    except Exception as error:  # a worker must outlive a span that can't be written
        metrics.SPANS_DROPPED.labels("unwritable").inc(len(batch))
        log.error("spans_dropped", count=len(batch), reason=type(error).__name__)
        return b""
