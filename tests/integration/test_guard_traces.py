"""The guard's spans hang below Envoy's, follow its sampling, and are always exported for refusals."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.guard import KEY, TRACE, GuardWorker, check_request, guard_plan, guard_worker

TRACE_ID, SPAN_ID = TRACE.split("-")[1:3]
UNSAMPLED = TRACE.removesuffix("01") + "00"


class Receiver(TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: asyncio.Queue[Span] = asyncio.Queue()

    async def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put_nowait(span)
        return ExportTraceServiceResponse()

    async def take(self, count: int) -> dict[str, Span]:
        async with asyncio.timeout(60):
            spans = [await self.spans.get() for _ in range(count)]
        return {span.name: span for span in spans}


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    with tempfile.TemporaryDirectory(prefix="bzt") as folder:
        made = Receiver()
        server = grpc.aio.server()
        register: Any = add_TraceServiceServicer_to_server  # generated without types
        register(made, server)
        endpoint = f"unix:{Path(folder) / 'otlp.sock'}"
        server.add_insecure_port(endpoint)
        await server.start()
        yield made, endpoint
        await server.stop(None)


async def ask(worker: GuardWorker, headers: dict[str, str], traceparent: str) -> None:
    await worker.check_raw(check_request(headers), (("traceparent", traceparent),))


async def test_spans_form_a_tree_below_envoys_span(receiver: tuple[Receiver, str]) -> None:
    spans, endpoint = receiver
    async with guard_worker(trace_endpoint=endpoint) as worker:
        await worker.load(guard_plan())
        await ask(worker, {"x-api-key": KEY}, UNSAMPLED)
        await ask(worker, {"x-api-key": KEY}, TRACE)
        tree = await spans.take(4)
        top = tree["bartizan.check"]
        assert (top.trace_id.hex(), top.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
        for name in ("bartizan.authn", "bartizan.admission", "bartizan.authz"):
            assert tree[name].parent_span_id == top.span_id
            assert top.start_time_unix_nano <= tree[name].start_time_unix_nano
            assert tree[name].end_time_unix_nano <= top.end_time_unix_nano
        attributes = {item.key: item.value.string_value for item in top.attributes}
        assert attributes["bartizan.cause"] == "allowed"
        assert attributes["bartizan.tenant"] == "acme"
        assert KEY not in str(tree)
        assert spans.spans.empty()  # nothing of the unsampled request, which came first


async def test_a_refusal_is_exported_although_not_sampled(receiver: tuple[Receiver, str]) -> None:
    spans, endpoint = receiver
    async with guard_worker(trace_endpoint=endpoint) as worker:
        await worker.load(guard_plan())
        await ask(worker, {}, UNSAMPLED)
        tree = await spans.take(2)
        assert tree["bartizan.check"].trace_id.hex() == TRACE_ID
        assert set(tree) == {"bartizan.check", "bartizan.authn"}


async def test_without_envoys_tracer_the_requests_own_id_names_the_trace(
    receiver: tuple[Receiver, str],
) -> None:
    spans, endpoint = receiver
    drawn = "9f0c1d2e-3b4a-4c5d-8e6f-708192a3b4c5"
    async with guard_worker(trace_endpoint=endpoint) as worker:
        await worker.load(guard_plan())
        await worker.check_raw(check_request({"x-api-key": KEY, "x-request-id": drawn}))
        await worker.check_raw(check_request({"x-request-id": drawn}))
        tree = await spans.take(2)
        assert tree["bartizan.check"].trace_id.hex() == drawn.replace("-", "")
        assert set(tree) == {"bartizan.check", "bartizan.authn"}  # of the refusal only
