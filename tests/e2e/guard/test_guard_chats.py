"""The guard worker behind real Envoy before a chat model: streams, rules over the body, the client's protocol."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from tests.e2e.guard.conftest import ASK, AUTH
from tests.support.gateway import Gateway
from tests.support.guard import OTHER_KEY

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("guard-chats"),
    pytest.mark.asyncio(loop_scope="module"),
]


def event(text: str) -> bytes:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "chat",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()


async def test_a_stream_flows_while_the_model_still_writes(chat: Gateway) -> None:
    seen = asyncio.Event()

    async def stream(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for word in ("one ", "two ", "three " * 30):
            await response.write(event(word))
        await seen.wait()
        await response.write(event("end") + b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    chat.model = stream
    async with asyncio.timeout(60), chat.post("/v1/chat/completions", json=ASK, headers=AUTH) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert b"one" in await answer.content.readline()
        seen.set()
        rest = await answer.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    record = await chat.record(answer)
    assert (record.phase, record.action, record.unscanned_reason) == ("response", "allow", "no_input_checks")
    identifiers = "c" + "chat"
    assert record.response_scanned == len("one two end" + "three " * 30 + identifiers)


async def test_a_canary_split_over_events_cuts_the_stream_and_stops_the_model(chat: Gateway) -> None:
    async def leak(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for word in (
            "fine words first, many of them to pass the window. " * 3,
            "cana",
            "ry-7f3",
            "a9c21",
            " x",
        ):
            await response.write(event(word))
        while True:
            await response.write(event("more "))
            await asyncio.sleep(0.01)

    chat.model = leak
    async with asyncio.timeout(60), chat.post("/v1/chat/completions", json=ASK, headers=AUTH) as answer:
        assert answer.status == 200
        body = await answer.read()
    assert b"fine words first" in body
    assert b"cana" not in body
    assert body.rstrip().endswith(b"data: [DONE]")
    record = await chat.record(answer)
    assert (record.phase, record.cause, record.action) == ("response", "answer_cut", "cut")
    async with asyncio.timeout(60):
        while not chat.disconnects:
            await asyncio.sleep(0.01)


async def test_a_client_that_goes_away_leaves_a_record(chat: Gateway) -> None:
    async def slow(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event("word " * 50))
        await asyncio.sleep(30)
        return response

    chat.model = slow
    async with chat.post("/v1/chat/completions", json=ASK, headers=AUTH) as answer:
        await answer.content.readline()
        answer.close()
    record = await chat.record(answer)
    assert "aborted" in record.unscanned_reason
    async with asyncio.timeout(60):
        while not chat.disconnects:
            await asyncio.sleep(0.01)


async def test_a_rule_over_the_body_decides_before_the_model(chat: Gateway) -> None:
    async with chat.post("/v1/chat/completions", json={**ASK, "model": "beta"}, headers=AUTH) as answer:
        assert answer.status == 403
    assert not chat.received
    record = await chat.record(answer)
    assert (record.phase, record.cause, record.detail) == ("request", "forbidden", "no-beta")


async def test_another_tenant_is_refused_in_the_clients_protocol(chat: Gateway) -> None:
    async with chat.post("/v1/chat/completions", json=ASK, headers={"x-api-key": OTHER_KEY}) as answer:
        assert answer.status == 403
        assert (await answer.json())["error"]["type"] == "permission_error"
    assert not chat.received


async def test_a_get_without_a_body_goes_through_the_exchange(chat: Gateway) -> None:
    async def models(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [{"id": "chat"}]})

    chat.model = models
    async with chat.client.get(f"{chat.url}/v1/models", headers=AUTH) as answer:
        assert answer.status == 200
        assert (await answer.json())["data"] == [{"id": "chat"}]
    record = await chat.record(answer)
    assert (record.method, record.path, record.phase) == ("GET", "/v1/models", "response")
    assert record.response_bytes > 0
