"""The span forwarder: takes spans on the unix socket, hands them to the collector, never holds anybody up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bartizan.telemetry import metrics
from sidecar.agent.otlp import MOST_BYTES, MOST_TOGETHER, QUEUE, SpanForwarder


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.received: list[Any] = []
        self.port = 0

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.received.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def batch(name: str) -> trace_service_pb2.ExportTraceServiceRequest:
    made = trace_service_pb2.ExportTraceServiceRequest()
    made.resource_spans.add().scope_spans.add().spans.add(name=name)
    return made


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    outside = grpc.aio.server()
    register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server  # generated without types
    register(made, outside)
    made.port = outside.add_insecure_port("127.0.0.1:0")
    await outside.start()
    yield made
    await outside.stop(0)


async def test_spans_reach_the_collector(tmp_path: Path, collector: Collector) -> None:
    forwarder = SpanForwarder(f"http://127.0.0.1:{collector.port}")
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
    assert collector.received == [batch("one")]


async def test_what_waits_goes_out_together_in_its_order(collector: Collector) -> None:
    forwarder = SpanForwarder(f"http://127.0.0.1:{collector.port}")
    for name in ("one", "two", "three"):
        forwarder.put(batch(name).SerializeToString())
    forwarder.put(large := batch("x" * MOST_TOGETHER).SerializeToString())
    await asyncio.gather(forwarder.close(60), forwarder.run())
    assert [names_of(each) for each in collector.received[:1]] == [["one", "two", "three"]]
    assert [each.SerializeToString() for each in collector.received[1:]] == [large]


async def test_at_the_end_what_waits_is_sent_at_once_and_nobody_waits_for_a_collector_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        forwarder = SpanForwarder(f"http://127.0.0.1:{silent.getsockname()[1]}")
        running = asyncio.get_running_loop().create_task(forwarder.run())
        forwarder.put(b"x")
        await forwarder.close(0.1)
        assert not running.done()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    await SpanForwarder("").close(60)


def names_of(request: trace_service_pb2.ExportTraceServiceRequest) -> list[str]:
    scopes = (scope for resource in request.resource_spans for scope in resource.scope_spans)
    return [span.name for scope in scopes for span in scope.spans]


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
