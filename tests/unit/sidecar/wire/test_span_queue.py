"""Finished spans on their way to the agent: in batches, bounded, and what waits at the end still goes."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bartizan.telemetry import metrics
from sidecar.agent.messages import SpanBatch
from sidecar.wire import span_queue
from sidecar.wire.span_queue import BATCH, MOST, SpanQueue
from sidecar.wire.trace import NO_PARENT, DecisionSpans


def decision(number: int, marks: object = (("authn", 10, 30),)) -> DecisionSpans:
    return DecisionSpans(name=f"d{number}", parent=NO_PARENT, marks=marks, decision_id="", attributes=())  # type: ignore[arg-type]


def dropped(reason: str) -> float:
    count: float = metrics.SPANS_DROPPED.labels(reason)._value.get()
    return count


class Agent:
    """Takes what a queue sends."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def send(self, batch: SpanBatch) -> None:
        (resource,) = ExportTraceServiceRequest.FromString(batch.request).resource_spans
        (scope,) = resource.scope_spans
        self.batches.append([span.name for span in scope.spans if span.name.startswith("d")])


async def test_what_waits_at_the_end_is_sent_in_order_and_in_batches() -> None:
    agent = Agent()
    queue = SpanQueue(agent.send)
    for number in range(BATCH + 2):
        queue.put(decision(number))
    queue.close()
    await queue.run()
    assert [len(batch) for batch in agent.batches] == [BATCH, 2]
    assert [name for batch in agent.batches for name in batch] == [
        f"d{number}" for number in range(BATCH + 2)
    ]


async def test_an_agent_that_does_not_read_costs_the_oldest_and_they_are_counted() -> None:
    agent, before = Agent(), dropped("worker_queue_full")
    queue = SpanQueue(agent.send)
    for number in range(MOST + 3):
        queue.put(decision(number))
    assert dropped("worker_queue_full") - before == 3
    queue.close()
    await queue.run()
    assert agent.batches[0][0] == "d3"


async def test_a_span_that_cannot_be_written_costs_its_batch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_queue, "_GATHER", 0.0)
    agent, before = Agent(), dropped("unwritable")
    queue = SpanQueue(agent.send)
    running = asyncio.get_running_loop().create_task(queue.run())
    queue.put(decision(1, marks=(("authn", "no number", 30),)))
    async with asyncio.timeout(60):
        while dropped("unwritable") == before:
            await asyncio.sleep(0.01)
    queue.put(decision(2))
    queue.close()
    await running
    assert agent.batches == [["d2"]]
