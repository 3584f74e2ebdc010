"""A small OTLP trace receiver for the demo and tests: keeps spans by trace and draws them as a tree."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

from bartizan import tasks

MAX_TRACES = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One received span; ids in hex, times in nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    start: int
    end: int
    attributes: dict[str, str]


class Receiver(service.TraceServiceServicer):
    """Listens on a loopback port. Holds at most MAX_TRACES traces, oldest dropped."""

    def __init__(self, forward: str = "") -> None:
        """`forward`: a collector (http://host:port, gRPC) that gets everything too; `forwarded` counts its thanks."""
        self._forward = grpc.aio.insecure_channel(forward.removeprefix("http://")) if forward else None
        self.forwarded = 0
        self._traces: dict[str, list[Span]] = defaultdict(list)
        self._arrived = asyncio.Event()
        self._server = grpc.aio.server()
        register: Any = service.add_TraceServiceServicer_to_server  # generated without types
        register(self, self._server)
        self.endpoint = ""

    async def start(self) -> None:
        """Open a free port; `endpoint` then holds its URL."""
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.endpoint = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._server.stop(0.5)
        if self._forward is not None:
            await self._forward.close()

    async def Export(  # noqa: N802  # the name is OTLP's
        self, request: messages.ExportTraceServiceRequest, context: Any
    ) -> messages.ExportTraceServiceResponse:
        """OTLP's only method."""
        del context
        for resource_spans in request.resource_spans:
            name = _attributes(resource_spans.resource.attributes).get("service.name", "")
            for scope in resource_spans.scope_spans:
                for span in scope.spans:
                    self._add(
                        Span(
                            trace_id=span.trace_id.hex(),
                            span_id=span.span_id.hex(),
                            parent_id=span.parent_span_id.hex(),
                            service=name,
                            name=span.name,
                            start=span.start_time_unix_nano,
                            end=span.end_time_unix_nano,
                            attributes=_attributes(span.attributes),
                        )
                    )
        self._arrived.set()
        if self._forward is not None:
            stub: Any = service.TraceServiceStub  # generated without types
            await stub(self._forward).Export(request, timeout=5)  # a fault goes back to the sender
            self.forwarded += 1
        return messages.ExportTraceServiceResponse()

    def _add(self, span: Span) -> None:
        self._traces[span.trace_id].append(span)
        while len(self._traces) > MAX_TRACES:
            self._traces.pop(next(iter(self._traces)))

    def trace(self, trace_id: str) -> list[Span]:
        """All spans of one trace that arrived so far, by start time."""
        return sorted(self._traces.get(trace_id, []), key=lambda span: span.start)

    def traces(self) -> list[list[Span]]:
        """Every trace that is held, oldest first."""
        return [self.trace(trace_id) for trace_id in self._traces]

    async def wait(self, trace_id: str, *names: str, seconds: float = 60.0) -> list[Span]:
        """The trace once spans whose names contain each of `names` arrived, or what there is after `seconds`."""
        try:
            async with tasks.timeout(seconds):
                while not all(any(name in span.name for span in self.trace(trace_id)) for name in names):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            pass
        return self.trace(trace_id)


def _attributes(pairs: Any) -> dict[str, str]:
    return {
        pair.key: str(getattr(pair.value, pair.value.WhichOneof("value") or "string_value")) for pair in pairs
    }


def tree(spans: list[Span]) -> list[tuple[int, Span]]:
    """Spans with their depth, parents before children. Spans whose parent is missing stand at depth 0."""
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        children[span.parent_id if span.parent_id in known else ""].append(span)
    rows: list[tuple[int, Span]] = []

    def walk(parent: str, depth: int) -> None:
        for span in children[parent]:
            rows.append((depth, span))
            walk(span.span_id, depth + 1)

    walk("", 0)
    return rows
