"""Traps of time: defaults of 200 ms that fail requests, timeouts that are not there, statuses that tell the wrong story."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import (
    HeadersResponse,
    ProcessingRequest,
    ProcessingResponse,
)
from sidecar.wire.engine import Call
from tests.e2e.traps.conftest import POLICY
from tests.support.raw_model import CANARY
from tests.support.watched_guard import Stand, StaticConfig, chat, manager_of, watched, with_length

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("traps"), pytest.mark.asyncio(loop_scope="module")]


def _impatient(config: dict[str, Any]) -> None:
    """Seconds instead of minutes."""
    manager = manager_of(config)
    manager["stream_idle_timeout"] = "1s"
    for host in manager["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            if "route" in route:
                route["route"]["idle_timeout"] = "1s"


async def test_a_guard_silent_within_a_stream_is_bounded_by_the_idle_timeout(
    static_config: StaticConfig,
) -> None:
    """In FULL_DUPLEX_STREAMED `message_timeout`, route `timeout` and `request_timeout` never fire; only
    stream_idle_timeout ends the answer, broken, and the model's request with it.
    """
    async with watched(POLICY, static_config, alter=_impatient) as stand:
        inner = stand.guard.inner

        async def silent(call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async def until_the_second_chunk() -> AsyncIterator[bytes]:
                chunks = 0
                async for message in messages:
                    chunks += ProcessingRequest.FromString(message).HasField("response_body")
                    if chunks > 1:
                        await asyncio.sleep(3600)
                    yield message

            async for reply in inner(call, until_the_second_chunk()):
                yield reply

        stand.guard.instead = silent
        async with asyncio.timeout(60):  # before the answer begins the machine's own second may be over
            while (reply := await stand.ask("sse_canary_late")).status != 200:
                pass
        assert not reply.whole
        assert CANARY.encode() not in reply.raw
        assert b"[DONE]" not in reply.raw
        assert (await stand.last()).ended == "cancelled"
        stand.guard.instead = None
        async with asyncio.timeout(60):
            while (await stand.ask("chat")).status != 200:
                pass


async def test_of_a_model_that_is_silent_the_client_is_told_so(static_config: StaticConfig) -> None:
    """Envoy says 504 of a guard that hangs, too; its own word of the reason tells which."""
    async with watched(POLICY, static_config, alter=_impatient) as stand:
        reply = await stand.ask("silent")
        assert (reply.status, b"The model did not answer in time." in reply.body) == (504, True), reply.raw


async def test_a_guard_slower_than_envoy_s_default_is_waited_for(static_config: StaticConfig) -> None:
    """Envoy's defaults are 200 ms, for ext_authz and for each message of ext_proc: one slow judgement would be a 500."""
    async with watched(POLICY, static_config, hurried=True) as stand:
        inner = stand.guard.inner

        async def slow(call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async def late() -> AsyncIterator[bytes]:
                async for message in messages:
                    if ProcessingRequest.FromString(message).HasField("request_body"):
                        await asyncio.sleep(0.4)
                    yield message

            async for reply in inner(call, late()):
                yield reply

        stand.guard.instead = slow
        assert await _in_time(stand) == 200


async def test_more_time_may_be_asked_for(static_config: StaticConfig) -> None:
    """`override_message_timeout` is ignored as long as `max_message_timeout` is not set: its default is 0."""

    async def asks(call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        await anext(messages)
        more = ProcessingResponse()
        more.override_message_timeout.FromMilliseconds(4000)
        yield more.SerializeToString()
        await asyncio.sleep(2.5)  # the configured message_timeout is 2 s
        yield ProcessingResponse(request_headers=HeadersResponse()).SerializeToString()
        async for _ in messages:
            yield ProcessingResponse(request_body={}).SerializeToString()  # type: ignore[arg-type]

    async with watched(POLICY, static_config, hurried=True) as stand:
        stand.guard.instead = asks
        assert await _in_time(stand) == 200
        counted = await stand.stats()
    assert counted["override_message_timeout_received"] >= 1
    assert counted["override_message_timeout_ignored"] == 0


async def _in_time(stand: Stand) -> int:
    """The status of an answer that this machine, too, was in time for: else 503 is right, and asked again."""
    async with asyncio.timeout(60):
        while (reply := await stand.ask("chat")).status == 503:
            pass
    return reply.status


async def test_a_client_that_sends_too_slowly_is_ended_and_never_half_judged(
    static_config: StaticConfig,
) -> None:
    """A body that stops in the middle holds a buffer until request_timeout; it is never judged as if it were whole."""

    def short(config: dict[str, Any]) -> None:
        manager_of(config)["request_timeout"] = "1s"

    async with watched(POLICY, static_config, alter=short) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(with_length(chat())[:-5])
        async with asyncio.timeout(60):
            answered = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert answered.startswith(b"HTTP/1.1 408")
        assert stand.model.accepted == 0
        assert all("request_body" not in seen.kinds() for seen in stand.guard.exchanges)
