"""Calls of sidecars that say nothing: each has to bring its first message soon, and few of one caller may wait for theirs.

gRPC alone waits for ever, before a handler is even asked, and all calls count against the server's one limit: somebody with
a certificate of one sidecar, and at the attestation port anybody, could keep everybody out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

from bartizan import tasks
from bartizan.telemetry.metrics import CALLS_REFUSED
from bartizan.xds.server import peer_info

SECONDS: Final = 10.0
Context = grpc.aio.ServicerContext[Any, Any]


def identity(context: Context) -> str:
    """Of a caller with a certificate."""
    peer = peer_info(context)
    return peer.spiffe_id or peer.address


def address(context: Context) -> str:
    """ "ipv4:127.0.0.1:5000" -> "127.0.0.1": the port would make every connection a new peer."""
    kind, _, rest = str(context.peer()).partition(":")
    return rest.rpartition(":")[0] if kind in {"ipv4", "ipv6"} else kind


class FirstWord(grpc.aio.ServerInterceptor):
    """Give it to the server. who: what calls are counted by; most: how many of one may wait at a time.

    What brings one message is served as a stream of one, which is the same on the wire: only so the wait is ours. Handlers
    are coroutine functions, those of streams too; none takes a stream and gives one message.
    """

    def __init__(self, who: Callable[[Context], str], *, most: int, seconds: float = SECONDS) -> None:
        self._who = who
        self._most = most
        self._seconds = seconds
        self._waiting: Counter[str] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        ask, answer = self._first, handler.unary_unary or handler.unary_stream or handler.stream_stream

        async def one(requests: AsyncIterator[Any], context: Context) -> Any:
            return await answer(await ask(requests, context), context)

        async def many(requests: AsyncIterator[Any], context: Context) -> None:
            await answer(_together(await ask(requests, context), requests), context)

        if handler.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(one, **codec)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(many, **codec)
        return grpc.stream_stream_rpc_method_handler(one, **codec)

    async def _first(self, requests: AsyncIterator[Any], context: Context) -> Any:
        who = self._who(context)
        if self._waiting[who] >= self._most:
            await _refuse(context, "crowded", grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls wait here")
        self._waiting[who] += 1
        first = None
        try:
            async with tasks.timeout(self._seconds):
                first = await anext(aiter(requests), None)
        except TimeoutError:
            said = f"no message came within {self._seconds:g} s"
            await _refuse(context, "silent", grpc.StatusCode.DEADLINE_EXCEEDED, said)
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who]
        if first is None:
            await _refuse(context, "empty", grpc.StatusCode.INVALID_ARGUMENT, "a message is needed")
        return first


async def _together(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for each in rest:
        yield each


async def _refuse(context: Context, reason: str, code: grpc.StatusCode, said: str) -> None:
    CALLS_REFUSED.labels(reason=reason).inc()
    await context.abort(code, said)
