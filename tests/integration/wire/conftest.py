"""Handlers that misbehave in every way the interface allows, and engines that serve them on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.wire.engine import Call, CallFailed, Engine, Services
from sidecar.wire.engine_grpcio import GrpcioEngine
from sidecar.wire.engine_http2 import Http2Engine
from sidecar.wire.http2_seam import Sessions
from sidecar.wire.http2_session import Http2Session
from sidecar.wire.http2_session_ngh2 import Ngh2Session
from tests.integration.wire import raw_h2 as h2

MEGABYTE = 1 << 20


@dataclass
class Handlers:
    """What is served, and what the handlers saw."""

    calls: list[Call] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    proceed: asyncio.Event = field(default_factory=asyncio.Event)
    yielded: int = 0
    taken: int = 0

    @property
    def services(self) -> Services:
        return Services(
            unary={
                "/test.S/Echo": self.echo,
                "/test.S/EchoAtOnce": self.echo_at_once,
                "/test.S/EchoLater": self.echo_later,
                "/test.S/Refuse": self.refuse,
                "/test.S/RefuseWithOk": self.refuse_with_ok,
                "/test.S/Crash": self.crash,
                "/test.S/CrashNoCoroutine": self.crash_no_coroutine,
                "/test.S/CrashLater": self.crash_later,
                "/test.S/Hang": self.hang,
            },
            stream={
                "/test.S/Both": self.both,
                "/test.S/Count": self.count,
                "/test.S/Early": self.early,
                "/test.S/Flood": self.flood,
                "/test.S/Slow": self.slow,
                "/test.S/Amplify": self.amplify,
                "/test.S/RefuseAfterOne": self.refuse_after_one,
                "/test.S/CrashAtOnce": self.crash_at_once,
                "/test.S/HangStream": self.hang_stream,
            },
        )

    async def echo(self, call: Call, message: bytes) -> bytes:
        self.calls.append(call)
        return message

    def echo_at_once(self, call: Call, message: bytes) -> bytes:
        self.calls.append(call)
        return message

    async def echo_later(self, call: Call, message: bytes) -> bytes:
        await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        return message

    async def refuse(self, call: Call, message: bytes) -> bytes:
        raise CallFailed(message[0], "because: 100% ü\n")

    async def refuse_with_ok(self, call: Call, message: bytes) -> bytes:
        raise CallFailed(0, "not well at all")

    async def crash(self, call: Call, message: bytes) -> bytes:
        raise LookupError("the prompt's own words")

    def crash_no_coroutine(self, call: Call, message: bytes) -> bytes:
        raise LookupError("the prompt's own words")

    async def crash_later(self, call: Call, message: bytes) -> bytes:
        await asyncio.sleep(0)
        raise LookupError("the prompt's own words")

    async def hang(self, call: Call, message: bytes) -> bytes:
        async with self._noted("unary"):
            await asyncio.Event().wait()
        return message

    @contextlib.asynccontextmanager
    async def _noted(self, name: str) -> AsyncIterator[None]:
        self.entered.set()
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        finally:
            self.over.set()

    async def both(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message

    async def count(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        number = 0
        async for _ in messages:
            number += 1
        yield str(number).encode()

    async def early(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message
            return

    async def flood(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        for _ in range(200):
            self.yielded += 1
            yield bytes(MEGABYTE)

    async def amplify(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for _ in messages:
            self.yielded += 1
            yield bytes(65_536)

    async def slow(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.entered.set()
        await self.proceed.wait()
        async for message in messages:
            self.taken += len(message)
        yield str(self.taken).encode()

    async def refuse_after_one(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message
            raise CallFailed(9, "enough")

    async def crash_at_once(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if call.method:
            raise LookupError("the prompt's own words")
        yield b""

    async def hang_stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async with self._noted("stream"):
            async for message in messages:
                yield message
                await asyncio.Event().wait()


@dataclass
class Served:
    """A running engine and a client of it."""

    engine: Engine
    handlers: Handlers
    socket: Path
    client: grpc.aio.Channel
    peers: list[h2.RawPeer] = field(default_factory=list)

    async def connect(self, *, hello: bool = True) -> h2.RawPeer:
        """A peer that speaks frame by frame; closed with the rest."""
        self.peers.append(await h2.RawPeer.connect(self.socket, hello=hello))
        return self.peers[-1]

    async def works(self) -> None:
        """Another connection is served."""
        peer = await self.connect()
        await peer.send(h2.request(1))
        answer = await peer.answer(1)
        assert (answer.status, answer.data) == (0, h2.message(b"hello"))
        await peer.close()

    async def unary(
        self, method: str, message: bytes, timeout: float | None = 60, **options: object
    ) -> bytes:
        # bytes in, bytes out: without serializers, which the stubs ask for
        call: Any = self.client.unary_unary(f"/test.S/{method}")
        reply: bytes = await call(message, timeout=timeout, **options)
        return reply

    def stream(self, method: str, timeout: float | None = 60, **options: object) -> Any:
        call: Any = self.client.stream_stream(f"/test.S/{method}")
        return call(timeout=timeout, **options)


Serve = Callable[..., AbstractAsyncContextManager[Served]]
SESSIONS: dict[str, Sessions] = {"builtin": Http2Session, "ngh2": Ngh2Session}
ENGINES: dict[str, Callable[..., Engine]] = {
    "grpcio": GrpcioEngine,
    **{name: partial(Http2Engine, sessions) for name, sessions in SESSIONS.items()},
}
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@contextlib.asynccontextmanager
async def served(engine: Engine) -> AsyncIterator[Served]:
    """Start an engine with the handlers above."""
    with tempfile.TemporaryDirectory(prefix="bzw") as folder:
        socket, handlers = Path(folder) / "guard.sock", Handlers()
        await engine.start(socket, handlers.services)
        try:
            async with grpc.aio.insecure_channel(f"unix:{socket}", options=OPTIONS) as client:
                running = Served(engine=engine, handlers=handlers, socket=socket, client=client)
                try:
                    yield running
                finally:
                    for peer in running.peers:
                        await peer.close()
        finally:
            await engine.stop(0)


@pytest.fixture(params=sorted(ENGINES))
def serve(request: pytest.FixtureRequest) -> Serve:
    """Each engine in turn."""
    return lambda **options: served(ENGINES[request.param](**options))


@pytest.fixture(params=sorted(SESSIONS))
def serve_http2(request: pytest.FixtureRequest) -> Serve:
    """Our own engine, with each session in turn."""
    return lambda **options: served(ENGINES[request.param](**options))


async def failure(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    return raised.value


def untyped(call: Any) -> Any:
    """A multi-callable of bytes: the stubs know it only with serializers."""
    return call
