"""Takes spans of Envoy (otlp.sock) and workers (their channel) and forwards them to the operator's collector; bounded,
never in the way.

Envoy needs no address and no credential of the collector that way. Without a collector spans are taken and dropped.
Batches pass as they are: nobody here reads them, and read they would take three times the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc

from bartizan.telemetry import metrics

QUEUE: Final = 256
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of batches that wait: a collector that hangs takes one in TIMEOUT, and each request that is refused has spans."""
TIMEOUT = 5.0
_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_ANSWER: Final = b""
"""An ExportTraceServiceResponse that says nothing."""


class SpanForwarder:
    """Answers at once; a slow or absent collector costs spans, never requests."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self._bytes = 0

    @property
    def taker(self) -> Callable[[bytes], None] | None:
        """`put`, or None where there is no collector: then nobody need make spans."""
        return self.put if self._endpoint else None

    def register(self, server: grpc.aio.Server) -> None:
        """Add this service to a server."""
        export: Any = grpc.unary_unary_rpc_method_handler(self._export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": export}),))

    async def _export(self, request: bytes, _context: Any) -> bytes:
        self.put(request)
        return _ANSWER

    def put(self, request: bytes) -> None:
        """Take an ExportTraceServiceRequest, b"" for none; the newest are dropped when there is no room."""
        if not self._endpoint or not request:
            return
        if self._queue.full() or self._bytes + len(request) > MOST_BYTES:
            metrics.SPANS_DROPPED.labels("queue_full").inc()
            return
        self._queue.put_nowait(request)
        self._bytes += len(request)

    async def run(self) -> None:
        """Until cancelled."""
        if not self._endpoint:
            return
        async with _channel(self._endpoint) as channel:
            export: Any = channel.unary_unary(f"/{_SERVICE}/Export")
            while True:
                request = await self._queue.get()
                self._bytes -= len(request)
                try:
                    await export(request, timeout=TIMEOUT)
                except grpc.aio.AioRpcError:
                    metrics.SPANS_DROPPED.labels("collector").inc()


def _channel(endpoint: str) -> grpc.aio.Channel:
    address = endpoint.rpartition("://")[2].rstrip("/")
    options = (("grpc.max_reconnect_backoff_ms", 5_000),)
    if endpoint.startswith("https://"):
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options)
    return grpc.aio.insecure_channel(address, options)
