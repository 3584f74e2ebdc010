"""A receiver of spans that notes which requests Envoy traced, without an event loop."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


class SpanNotes(service.TraceServiceServicer):
    """`traces`: ids of those whose root is a request's way in. `told`: of all that have a span."""

    def __init__(self) -> None:
        self.traces: set[str] = set()
        self.told: set[str] = set()
        self._last = time.monotonic()
        self._server = grpc.server(ThreadPoolExecutor(2))
        register: Any = service.add_TraceServiceServicer_to_server  # generated without types
        register(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def Export(  # noqa: N802  # the name is OTLP's
        self, request: messages.ExportTraceServiceRequest, context: Any
    ) -> messages.ExportTraceServiceResponse:
        del context
        self._last = time.monotonic()
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.told |= {span.trace_id.hex() for span in scope.spans}
                self.traces |= {
                    span.trace_id.hex()
                    for span in scope.spans
                    if not span.parent_span_id and span.name.startswith("ingress")
                }
        return messages.ExportTraceServiceResponse()

    def quiet(self, seconds: float) -> bool:
        """Whether nothing came for so long."""
        return time.monotonic() - self._last > seconds

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(0.5).wait()
