"""Calls of sidecars that say nothing: each has to bring its first message soon, and few of one caller may wait for theirs.

gRPC alone waits for ever, before a handler is even asked, and all calls count against the server's one limit: somebody with
a certificate of one sidecar, and at the attestation port anybody, could keep everybody out.
"""

from __future__ import annotations

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
    """Give it to the server. who: what calls are counted by; most: how many of one may wait at a time, and of all.

    Beyond that of all, the longest silent call of who has most yields its place: whoever means it has spoken long since.

    What brings one message is served as a stream of one, which is the same on the wire: only so the wait is ours. Handlers
    are coroutine functions, those of streams too; none takes a stream and gives one message.
    """

    def __init__(
        self, who: Callable[[Context], str], *, most: int, of_all: int, seconds: float = SECONDS
    ) -> None:
        self._who = who
        self._most = most
        self._of_all = of_all
        self._seconds = seconds
        self._waiting: dict[str, list[tasks.Timeout]] = {}
        """The oldest first."""
        self._count = 0

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
        if len(self._waiting.get(who, ())) >= self._most:
            await _refuse(context, "crowded", grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls wait here")
        if self._count >= self._of_all:
            self._yield_one()
        turn = tasks.timeout(self._seconds)
        self._waiting.setdefault(who, []).append(turn)
        self._count += 1
        first, late = None, False
        try:
            async with turn:
                first = await anext(aiter(requests), None)
        except TimeoutError:
            late = True
        finally:
            yielded = not self._forget(who, turn)
        if late and yielded:
            await _refuse(context, "crowded", grpc.StatusCode.RESOURCE_EXHAUSTED, "others wait here, too")
        if late:
            said = f"no message came within {self._seconds:g} s"
            await _refuse(context, "silent", grpc.StatusCode.DEADLINE_EXCEEDED, said)
        if first is None:
            await _refuse(context, "empty", grpc.StatusCode.INVALID_ARGUMENT, "a message is needed")
        return first

    def _yield_one(self) -> None:
        """Of those who have equally many, it is who began first."""
        who = max(self._waiting, key=lambda each: len(self._waiting[each]))
        turn = self._waiting[who][0]
        self._forget(who, turn)
        turn.end()

    def _forget(self, who: str, turn: tasks.Timeout) -> bool:
        """False when it was forgotten before."""
        turns = self._waiting.get(who, [])
        if turn not in turns:
            return False
        turns.remove(turn)
        self._count -= 1
        if not turns:
            del self._waiting[who]
        return True


async def _together(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for each in rest:
        yield each


async def _refuse(context: Context, reason: str, code: grpc.StatusCode, said: str) -> None:
    CALLS_REFUSED.labels(reason=reason).inc()
    await context.abort(code, said)
