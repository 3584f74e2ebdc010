"""The span forwarder: takes spans on the unix socket, hands them to the collector, never holds anybody up."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bartizan.telemetry import metrics
from sidecar.agent.otlp import MOST_BYTES, QUEUE, SpanForwarder


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.received: list[Any] = []

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.received.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def batch(name: str) -> trace_service_pb2.ExportTraceServiceRequest:
    made = trace_service_pb2.ExportTraceServiceRequest()
    made.resource_spans.add().scope_spans.add().spans.add(name=name)
    return made


async def test_spans_reach_the_collector(tmp_path: Path) -> None:
    collector = Collector()
    outside = grpc.aio.server()
    register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server  # generated without types
    register(collector, outside)
    port = outside.add_insecure_port("127.0.0.1:0")
    await outside.start()
    forwarder = SpanForwarder(f"http://127.0.0.1:{port}")
    inside = grpc.aio.server()
    forwarder.register(inside)
    inside.add_insecure_port(f"unix:{tmp_path}/otlp.sock")
    await inside.start()
    running = asyncio.get_running_loop().create_task(forwarder.run())
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/otlp.sock") as channel:
        stub: Any = trace_service_pb2_grpc.TraceServiceStub
        await stub(channel).Export(batch("one"))
        async with asyncio.timeout(60):
            while not collector.received:
                await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await inside.stop(0)
    await outside.stop(0)
    assert collector.received == [batch("one")]


async def test_without_a_collector_spans_are_taken_and_dropped() -> None:
    nowhere = SpanForwarder("")
    before = dropped()
    for _ in range(QUEUE + 5):
        nowhere.put(b"x")
    await nowhere.run()
    assert dropped() == before


@pytest.mark.parametrize(("size", "room"), [(1, QUEUE), (MOST_BYTES // 10, 10), (MOST_BYTES + 1, 0)])
async def test_what_waits_is_bounded_in_number_and_bytes_and_nobody_waits(size: int, room: int) -> None:
    away = SpanForwarder("http://127.0.0.1:1")
    before = dropped()
    for _ in range(room + 5):
        away.put(bytes(size))
    assert dropped() == before + 5


async def test_a_collector_that_refuses_makes_room() -> None:
    away = SpanForwarder("http://127.0.0.1:1")
    before = lost()
    running = asyncio.get_running_loop().create_task(away.run())
    for number in range(1, 4):
        away.put(bytes(MOST_BYTES))
        async with asyncio.timeout(60):
            while lost() < before + number:
                await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def dropped() -> float:
    count: float = metrics.SPANS_DROPPED.labels("queue_full")._value.get()
    return count


def lost() -> float:
    count: float = metrics.SPANS_DROPPED.labels("collector")._value.get()
    return count
