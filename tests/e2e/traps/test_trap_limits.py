"""Traps of limits: which of them is met first, and the ones that nobody set."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from bartizan.policy import names
from tests.e2e.traps.conftest import POLICY
from tests.support.raw_client import exchange, parse
from tests.support.raw_model import ANSWERS, Received, Write
from tests.support.watched_guard import (
    Stand,
    StaticConfig,
    chat,
    head,
    in_chunks,
    watched,
    with_length,
)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("traps"), pytest.mark.asyncio(loop_scope="module")]

SMALL = POLICY.replace("8MiB", "64KiB")


def large(size: int) -> bytes:
    return chat("a" * size)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (with_length(large(200_000), key=""), {413}),
        (in_chunks(large(200_000), key=""), {401, 413}),
        (with_length(large(200_000), key="bzk_" + "x" * 43), {413}),
        (in_chunks(large(200_000)), {413}),
    ],
    ids=["a stranger's announced", "a stranger's chunked", "a wrong key's announced", "a caller's chunked"],
)
async def test_a_body_above_the_limit_is_refused_whoever_sends_it(
    static_config: StaticConfig, raw: bytes, expected: set[int]
) -> None:
    """ext_authz answers 413 before it asks, and that wins over failure_mode_allow; ext_proc answers 413 before the body's
    message. With us 413 costs no guard call where the size is announced, and is never a way around one.
    """
    async with watched(SMALL, static_config) as stand:
        reply = parse(await asyncio.to_thread(exchange, stand.port, raw, one_answer=True))
        assert reply.status in expected
        assert reply.headers["x-bartizan-decision"]
        assert stand.model.accepted == 0
        assert "request_body" not in [kind for seen in stand.guard.exchanges for kind in seen.kinds()]


@pytest.mark.parametrize("size", [32 * 1024, 128 * 1024, 5 << 20])
async def test_no_hidden_limit_lies_below_the_policy_s_own(stand: Stand, size: int) -> None:
    """Limits elsewhere that cut below the one that was set: 32 KiB and 1 MiB of Envoy's buffers (ai-gateway#827), 64 KB
    of ext_authz (cluster-forge#832), 128 KB (gateway-api-inference-extension#854), 4 MB of gRPC's messages.
    """
    assert (await stand.send(with_length(large(size)))).status == 200
    assert (await stand.send(in_chunks(large(size)))).status == 200


@pytest.mark.parametrize(("count", "status"), [(3_500, 200), (4_050, 413)])
async def test_a_redaction_that_grows_a_body_above_the_limit_is_a_clean_413(
    static_config: StaticConfig, count: int, status: int
) -> None:
    """A body that the guard makes longer than the buffer would be a 500, or reach the model above its limit."""
    body = chat("a@b.co is mine. " * count)
    assert len(body) < 64 * 1024
    async with watched(SMALL, static_config) as stand:
        assert (await stand.send(with_length(body))).status == status
        assert len(stand.model.received) == (status == 200)
        for received in stand.model.received:
            assert json.loads(received.body)["messages"][0]["content"] == "[EMAIL] is mine. " * count


def _breakers(cluster: dict[str, Any]) -> dict[str, int]:
    (threshold,) = cluster["circuit_breakers"]["thresholds"]
    found: dict[str, int] = threshold
    return found


async def test_no_default_breaker_of_a_cluster_is_left(static_config: StaticConfig) -> None:
    """llm-d#1582: long streams hold ext_proc streams open; above the default of 1,024 requests a cluster answers
    `overflow`, more than half of them with 500 at 2,000. The default of 3 retries swallows those of a lost worker.
    `make bench` plays 2,000 streams at once.
    """

    def note(config: dict[str, Any]) -> None:
        for cluster in config["static_resources"]["clusters"]:
            if cluster["name"] in {names.CLUSTER_GUARD, names.CLUSTER_MODEL}:
                seen[cluster["name"]] = _breakers(cluster)

    seen: dict[str, dict[str, int]] = {}
    async with watched(POLICY, static_config, alter=note) as stand:
        assert (await stand.ask("chat")).status == 200
    assert set(seen) == {names.CLUSTER_GUARD, names.CLUSTER_MODEL}
    for breakers in seen.values():
        assert min(breakers["max_requests"], breakers["max_connections"]) >= 4096
        assert breakers["max_pending_requests"] >= 4096
    assert seen[names.CLUSTER_GUARD]["max_retries"] >= 4096


async def test_an_overflowing_breaker_of_the_guard_refuses(static_config: StaticConfig) -> None:
    """The trap itself, with a breaker of 3: what does not fit is refused with 503, and never passed unchecked."""

    def narrow(config: dict[str, Any]) -> None:
        for cluster in config["static_resources"]["clusters"]:
            if cluster["name"] == names.CLUSTER_GUARD:
                _breakers(cluster)["max_requests"] = 3

    said = threading.Event()

    def held(request: Received, write: Write) -> None:
        said.wait(60)
        ANSWERS["sse"](request, write)

    async with watched(POLICY, static_config, alter=narrow) as stand:
        stand.model.script = held
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(stand.send(with_length(chat(stream=True)))) for _ in range(12)]
            # one that does not fit: those that do get their answer later
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            said.set()
        replies = [each.result() for each in asked]
        assert {reply.status for reply in replies} == {200, 503}
        assert all("retry-after" in reply.headers for reply in replies if reply.status == 503)
        assert len(stand.model.received) == sum(reply.status == 200 for reply in replies)


async def test_headers_alone_hold_no_guard(stand: Stand) -> None:
    """A client that sends headers and no body costs a check, and no stream of the content hop."""
    writers = []
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(head("content-length: 100"))
        writers.append(writer)
    await asyncio.sleep(0.2)
    assert not stand.guard.exchanges
    assert (await stand.ask("chat")).status == 200
    for writer in writers:
        writer.close()
