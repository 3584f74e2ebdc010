"""The first wire engine: grpc.aio on a unix socket, bytes in and bytes out, no message types."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bartizan.telemetry.logging import get_logger
from sidecar.wire.engine import (
    MAX_CONNECTIONS,
    Call,
    CallFailed,
    Services,
    StreamHandler,
    UnaryHandler,
    answered,
)

log = get_logger()

MAX_MESSAGE = 68 * 1024 * 1024
"""Envoy may send a whole buffered body in one message; gRPC's own limit would be 4 MB."""
MAX_CALLS = 4096
"""Running calls of one worker; more are refused with RESOURCE_EXHAUSTED, which Envoy tries elsewhere or answers 503."""
_INTERNAL = 13
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.max_concurrent_streams", MAX_CALLS),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
]
Context = grpc.aio.ServicerContext[bytes, bytes]


def _call(method: str, context: Context) -> Call:
    pairs = context.invocation_metadata() or ()
    metadata = {key: value for key, value in pairs if isinstance(value, str)}
    return Call(method=method, metadata=metadata, deadline=context.time_remaining(), peer=context.peer())


async def _fail(context: Context, error: Exception) -> NoReturn:
    """End the RPC with a status other than OK; messages of unknown exceptions may hold content and stay inside."""
    if isinstance(error, CallFailed):
        code, text = _STATUS.get(error.code, grpc.StatusCode.INTERNAL), str(error)
        await context.abort(grpc.StatusCode.INTERNAL if code is grpc.StatusCode.OK else code, text)
    log.error("call_failed", error=type(error).__name__)
    await context.abort(_STATUS[_INTERNAL], "internal error")


def _unary(method: str, handler: UnaryHandler) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def serve(message: bytes, context: Context) -> bytes:
        try:
            return await answered(handler(_call(method, context), message))
        except Exception as error:
            await _fail(context, error)

    return serve


def _stream(
    method: str, handler: StreamHandler
) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]:
    async def serve(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        replies = handler(_call(method, context), messages)
        try:
            async for reply in replies:
                yield reply
        except Exception as error:
            await _fail(context, error)
        finally:
            # also when the RPC is cancelled between two replies: the handler leaves its evidence at its end
            if isinstance(replies, AsyncGenerator):
                await replies.aclose()

    return serve


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, services: Services) -> None:
        made: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(cast("Any", _unary(name, handler)))
            for name, handler in services.unary.items()
        }
        made |= {
            name: grpc.stream_stream_rpc_method_handler(cast("Any", _stream(name, handler)))
            for name, handler in services.stream.items()
        }
        self._handlers = made

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


class GrpcioEngine:
    """Implements sidecar.wire.engine.Engine."""

    def __init__(self) -> None:
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()

    async def start(self, socket: Path, services: Services) -> None:
        """Listen on the unix socket (mode 0600). A file left by a killed worker is replaced."""
        socket.unlink(missing_ok=True)
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        server.add_generic_rpc_handlers((_Handlers(services),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        before = os.umask(0o177)
        try:
            server.add_insecure_port(f"unix:{socket}")
        finally:
            os.umask(before)
        await server.start()
        socket.chmod(0o600)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server = server

    async def stop(self, grace: float) -> None:
        """Refuse new calls, let running ones end for `grace` seconds."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace)
            self._server = None
