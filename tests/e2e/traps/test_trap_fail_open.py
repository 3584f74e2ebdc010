"""The trap of a guard that goes away: Envoy passes the rest of an exchange when the stream ends with status OK."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import HeadersResponse, ProcessingResponse
from sidecar.wire.engine import Call
from tests.e2e.traps.conftest import POLICY
from tests.support.gateway import gateway
from tests.support.guard import KEY
from tests.support.raw_model import CANARY, event
from tests.support.watched_guard import PATH, Stand, StaticConfig, chat, watched, with_length

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("traps"), pytest.mark.asyncio(loop_scope="module")]

FORBIDDEN = chat("secret words", model="beta")
WORDS = "fine words first, many of them, to pass what is held back. " * 3


async def _ends_well_after_the_headers(call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What a guard must never do."""
    await anext(messages)
    yield ProcessingResponse(request_headers=HeadersResponse()).SerializeToString()


async def test_envoy_passes_what_is_left_when_a_stream_ends_with_ok(stand: Stand) -> None:
    """The trap itself (envoy#41276 and its kin): `failure_mode_allow: false` does not cover a stream that ends with OK.
    When this fails, Envoy has closed it.
    """
    stand.guard.instead = _ends_well_after_the_headers
    reply = await stand.send(with_length(FORBIDDEN))
    assert reply.status == 200
    assert len(stand.model.received) == 1, "the body was never judged"


async def test_our_guard_ends_no_stream_with_ok_that_the_peer_ended_early(stand: Stand) -> None:
    """A client that goes away looks like a half-close without an end of stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    stand.model.says = "sse_endless"
    writer.write(with_length(chat(stream=True)))
    await reader.readuntil(b"fine words")
    writer.close()
    seen = await stand.last()
    assert seen.ended in {"failed", "cancelled"}
    assert stand.records[-1].unscanned_reason.endswith("aborted")


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
async def test_a_guard_lost_after_the_first_chunk_lets_no_unchecked_chunk_out(
    static_config: StaticConfig, fault: signal.Signals
) -> None:
    """envoy#41276: in FULL_DUPLEX_STREAMED fail-open ends with the first chunk; here nothing is open from the start. A
    worker that is told to stop ends its streams with another status than OK.
    """
    gone = asyncio.Event()
    async with gateway(POLICY, static_config) as running:
        running.model = _leaks_when(gone.wait)
        headers = {"x-api-key": KEY}
        async with (
            asyncio.timeout(60),
            running.post(PATH, data=chat(stream=True), headers={**headers, "content-type": "application/json"}) as answer,
        ):  # fmt: skip
            assert answer.status == 200
            got = await answer.content.readline()
            running.guard.child.process.send_signal(fault)
            if fault is signal.SIGKILL:
                await running.guard.child.process.wait()
            gone.set()
            whole = True
            try:
                got += await answer.content.read()
            except Exception:
                whole = False
        assert b"fine words" in got
        assert CANARY.encode() not in got
        if fault is signal.SIGKILL:
            assert not whole, "a broken answer says that it is broken"
            assert b"[DONE]" not in got


def _leaks_when(
    go: Callable[[], Awaitable[object]],
) -> Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]:
    async def model(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event(WORDS))
        await go()
        for word in (CANARY, WORDS, WORDS):
            await response.write(event(word))
            await asyncio.sleep(0.02)
        await response.write(b"data: [DONE]\n\n")
        return response

    return model


async def test_no_stream_of_envoy_s_was_half_closed_by_us(static_config: StaticConfig) -> None:
    """`server_half_closed` counts what could have failed open."""
    async with watched(POLICY, static_config) as stand:
        for says in (
            "chat",
            "sse",
            "sse_canary",
            "malformed",
            "stack_trace",
            "sse_garbage",
            "empty",
            "reset",
        ):
            await stand.ask(says)
        await stand.send(with_length(FORBIDDEN))
        counted = await stand.stats()
    assert counted["streams_started"] >= 9
    assert counted["server_half_closed"] == 0
    assert counted["failure_mode_allowed"] == 0
