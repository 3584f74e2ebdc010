"""Takes spans of Envoy (otlp.sock) and workers (their channel) and forwards them to the operator's collector; bounded,
never in the way.

Envoy needs no address and no credential of the collector that way. Without a collector spans are taken and dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bartizan.errors import ProtocolViolation
from bartizan.telemetry import metrics

QUEUE = 256
TIMEOUT = 5.0


class SpanForwarder(trace_service_pb2_grpc.TraceServiceServicer):
    """Answers at once; a slow or absent collector costs spans, never requests."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._queue: asyncio.Queue[trace_service_pb2.ExportTraceServiceRequest] = asyncio.Queue(QUEUE)

    def register(self, server: grpc.aio.Server) -> None:
        """Add this service to a server."""
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._take(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def put(self, request: bytes) -> None:
        """A worker's ExportTraceServiceRequest. Raises ProtocolViolation when it is none."""
        try:
            self._take(trace_service_pb2.ExportTraceServiceRequest.FromString(request))
        except DecodeError as error:
            raise ProtocolViolation("spans that are no OTLP request") from error

    def _take(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        if self._endpoint:
            try:
                self._queue.put_nowait(request)
            except asyncio.QueueFull:
                metrics.SPANS_DROPPED.labels("queue_full").inc()

    async def run(self) -> None:
        """Until cancelled."""
        if not self._endpoint:
            return
        async with _channel(self._endpoint) as channel:
            stub = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]
            while True:
                request = await self._queue.get()
                try:
                    await stub.Export(request, timeout=TIMEOUT)
                except grpc.aio.AioRpcError:
                    metrics.SPANS_DROPPED.labels("collector").inc()


def _channel(endpoint: str) -> grpc.aio.Channel:
    address = endpoint.rpartition("://")[2].rstrip("/")
    options = (("grpc.max_reconnect_backoff_ms", 5_000),)
    if endpoint.startswith("https://"):
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options)
    return grpc.aio.insecure_channel(address, options)
