"""Takes spans of Envoy (otlp.sock) and workers (their channel) and forwards them to the operator's collector; bounded,
never in the way.

Envoy needs no address and no credential of the collector that way. Without a collector spans are taken and dropped.
Batches pass as they are: nobody here reads them, and read they would take three times the memory. What came within GATHER
goes out in one call, which costs the agent a millisecond whatever is in it: requests of OTLP, one behind the other, are one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import grpc

from bartizan import tasks
from bartizan.telemetry import metrics

QUEUE: Final = 256
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of batches that wait: a collector that hangs takes one in TIMEOUT, and each request that is refused has spans."""
GATHER: Final = 0.5
MOST_TOGETHER: Final = 1024 * 1024
"""Bytes of batches in one call; gRPC servers take 4 MB unless they are told otherwise."""
TIMEOUT = 5.0
_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_ANSWER: Final = b""
"""An ExportTraceServiceResponse that says nothing."""


class SpanForwarder:
    """Answers at once; a slow or absent collector costs spans, never requests."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._some, self._closing, self._done = asyncio.Event(), asyncio.Event(), asyncio.Event()

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
        if len(self._waiting) >= QUEUE or self._bytes + len(request) > MOST_BYTES:
            metrics.SPANS_DROPPED.labels("queue_full").inc()
            return
        self._waiting.append(request)
        self._bytes += len(request)
        self._some.set()

    async def run(self) -> None:
        """Until cancelled, or closed and empty."""
        if not self._endpoint:
            return
        async with _channel(self._endpoint) as channel:
            export: Any = channel.unary_unary(f"/{_SERVICE}/Export")
            closed = False
            while not closed:
                await self._some.wait()
                with contextlib.suppress(TimeoutError):
                    async with tasks.timeout(GATHER):
                        await self._closing.wait()
                closed = self._closing.is_set()
                self._some.clear()
                while self._waiting:
                    batches = self._take()
                    try:
                        await export(b"".join(batches), timeout=TIMEOUT)
                    except grpc.aio.AioRpcError:
                        metrics.SPANS_DROPPED.labels("collector").inc(len(batches))
        self._done.set()

    def _take(self) -> list[bytes]:
        """The oldest that fit into one call."""
        taken: list[bytes] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0]) <= MOST_TOGETHER):
            taken.append(self._waiting.popleft())
            size += len(taken[-1])
        self._bytes -= size
        return taken

    async def close(self, deadline: float) -> None:
        """At the end of the process: what waits is sent at once, for at most `deadline` seconds."""
        self._closing.set()
        self._some.set()
        if self._endpoint:
            with contextlib.suppress(TimeoutError):
                async with tasks.timeout(deadline):
                    await self._done.wait()


def _channel(endpoint: str) -> grpc.aio.Channel:
    address = endpoint.rpartition("://")[2].rstrip("/")
    options = (("grpc.max_reconnect_backoff_ms", 5_000),)
    if endpoint.startswith("https://"):
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options)
    return grpc.aio.insecure_channel(address, options)
