"""Traps of processing modes: overrides that Envoy ignores, chunks that skip the processor, headers that run ahead."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from tests.e2e.traps.conftest import POLICY
from tests.support.raw_client import parse, wait_until
from tests.support.raw_model import CANARY, Received, Write, event
from tests.support.watched_guard import (
    Stand,
    StaticConfig,
    chat,
    filter_of,
    head,
    watched,
    with_length,
)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("traps"), pytest.mark.asyncio(loop_scope="module")]

EXT_PROC = "envoy.filters.http.ext_proc"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FORBIDDEN = chat("secret words", model="beta")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _canary_at_once(_request: Received, write: Write) -> None:
    """Headers and the whole body in one write, the canary in its first bytes."""
    write(SSE + chunk(event(f"{CANARY} and more")) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def test_the_first_chunk_of_an_answer_is_inspected(stand: Stand) -> None:
    """envoy#40340: after a mode override the first chunk could pass the processor by."""
    stand.model.script = _canary_at_once
    replies = await asyncio.gather(*(stand.send(with_length(chat(stream=True))) for _ in range(20)))
    for reply in replies:
        assert reply.status == 200
        assert CANARY.encode() not in reply.raw
    for exchange in stand.guard.exchanges:
        assert exchange.kinds()[:3] == ["request_headers", "request_body", "response_headers"]
        assert exchange.messages[3].HasField("response_body")
        assert CANARY.encode() in exchange.messages[3].response_body.body


@pytest.mark.parametrize("name", ["GET", "POST", "POST in one byte pieces"])
async def test_the_override_is_made_for_every_kind_of_request(stand: Stand, name: str) -> None:
    """An override that does not match is ignored without a word, and the answer passes unscanned."""
    if name == "GET":
        reply = await stand.send(head(method="GET", path="/v1/models"))
    elif name == "POST":
        reply = await stand.send(with_length(chat()))
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        for byte in with_length(chat()):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        reply = parse(await reader.read())
        writer.close()
    assert reply.status in {200, 502}
    seen = await stand.last()
    assert "response_headers" in seen.kinds()
    first = seen.replies[0]
    assert first.HasField("request_headers")
    assert first.mode_override.response_body_mode


REFUSED: dict[str, tuple[bytes, int]] = {
    "no key": (with_length(chat(), key=""), 401),
    "a wrong key": (with_length(chat(), key="bzk_" + "x" * 43), 401),
    "an undeclared path": (with_length(chat(), path="/elsewhere"), 404),
    "an announced body above the limit": (head("content-length: 99999999"), 413),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals_before_the_content_hop_open_no_stream_of_it(stand: Stand, name: str) -> None:
    """Local replies of earlier filters go through ext_proc, as a stream that begins with response_headers: each refusal
    would cost a guard stream, and output checks would inspect the guard's own words.
    """
    raw, status = REFUSED[name]
    reply = await stand.send(raw, one_answer=True)
    assert reply.status == status
    assert not stand.guard.exchanges


async def test_nothing_reaches_the_model_before_the_whole_body_is_judged(static_config: StaticConfig) -> None:
    """With `request_header_mode: SKIP` Envoy sends the headers on before the verdict on the body. In a stand of its own:
    no connection to the model is there yet.
    """
    async with watched(POLICY, static_config) as stand:
        raw = with_length(FORBIDDEN)
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(raw[:-1])
        await asyncio.sleep(0.3)
        assert stand.model.accepted == 0
        writer.write(raw[-1:])
        assert parse(await reader.read()).status == 403
        writer.close()
        assert stand.model.accepted == 0


async def test_headers_that_are_skipped_run_ahead_of_the_verdict(static_config: StaticConfig) -> None:
    """The trap itself, so that we learn when Envoy closes it: the compiled filter with request headers on SKIP."""

    def skip(config: dict[str, Any]) -> None:
        filter_of(config, EXT_PROC)["processing_mode"]["request_header_mode"] = "SKIP"

    async with watched(POLICY, static_config, alter=skip) as stand:
        reply = await stand.send(with_length(FORBIDDEN))
        assert reply.status >= 400
        # Envoy 1.40 connects to the model before the guard has judged; the model may see it after our answer
        assert await asyncio.to_thread(wait_until, lambda: stand.model.accepted == 1)


@pytest.mark.parametrize("path", sorted(Path("examples/policies").glob("*.yaml")), ids=lambda path: path.stem)
async def test_the_compiled_filter_leaves_no_override_to_be_ignored(path: Path) -> None:
    """FULL_DUPLEX_STREAMED in the configuration, or `allowed_override_modes`, make Envoy drop overrides silently; a
    second ext_proc filter truncates bodies (envoy#43983, #41654); BUFFERED with upgrades dead-locks (#47161).
    """
    bundle = compile_bundle(
        parse_policy(path.read_text()), revision=1, version=1, issued_at="2026-01-01T00:00:00Z"
    )
    for listener in bundle.envoy.listeners:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            assert "upgrade_configs" not in manager
            found = [each["typed_config"] for each in manager["http_filters"] if each["name"] == EXT_PROC]
            assert len(found) <= 1
            for config in found:
                mode = config["processing_mode"]
                assert config["allow_mode_override"]
                assert mode["request_header_mode"] == "SEND"
                assert "FULL_DUPLEX_STREAMED" not in mode.values()
                assert "allowed_override_modes" not in config
                assert not config.get("failure_mode_allow")
                assert not config.get("observability_mode")
                assert config["max_message_timeout"] != "0s", "else an override of the timeout is ignored"
