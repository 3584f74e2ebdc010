"""The guard worker behind real Envoy: what becomes of answers, whole and broken."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.guard.conftest import AUTH, CANARY
from tests.support.gateway import Gateway

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("guard-answers"),
    pytest.mark.asyncio(loop_scope="module"),
]


async def test_a_canary_in_a_json_answer_refuses_it(fields: Gateway) -> None:
    async def leak(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.json_response({"echo": f"the word is {CANARY}", "probabilities": [1.0]})

    fields.model = leak
    async with fields.post("/predict", json={"text": "a"}, headers=AUTH) as answer:
        assert answer.status == 403
        assert CANARY not in await answer.text()
    record = await fields.record(answer)
    assert (record.phase, record.cause, record.action) == ("response", "answer_denied", "deny")


@pytest.mark.parametrize(
    ("answered", "status", "cause"),
    [
        (lambda: web.Response(body=b"<html>", content_type="text/html"), 502, "answer_malformed"),
        (
            lambda: web.Response(
                body=gzip.compress(b"{}"),
                headers={"content-encoding": "gzip"},
                content_type="application/json",
            ),
            502,
            "answer_encoded",
        ),
    ],
)
async def test_an_answer_that_cannot_be_read_is_502(
    fields: Gateway, answered: Any, status: int, cause: str
) -> None:
    async def reply(_request: web.Request, _body: bytes) -> web.StreamResponse:
        response: web.Response = answered()
        return response

    fields.model = reply
    async with fields.post("/predict", json={"text": "a"}, headers=AUTH) as answer:
        assert answer.status == status
    assert (await fields.record(answer)).cause == cause


async def test_errors_of_the_model_keep_their_status_and_unreadable_ones_get_our_body(
    fields: Gateway,
) -> None:
    async def fail(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.Response(status=500, body=b"\xff\xfeTraceback secret.py", content_type="text/plain")

    fields.model = fail
    async with fields.post("/predict", json={"text": "a"}, headers=AUTH) as answer:
        assert answer.status == 500
        body = await answer.read()
        assert b"Traceback" not in body
        assert answer.content_type == "application/problem+json"
    record = await fields.record(answer)
    assert (record.status, record.unscanned_reason) == (500, "model_error")


async def test_large_answers_come_whole(fields: Gateway) -> None:
    text = "lorem ipsum " * 40_000

    async def large(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.json_response({"echo": text, "probabilities": []})

    fields.model = large
    async with fields.post("/predict", json={"text": "a"}, headers=AUTH) as answer:
        assert answer.status == 200
        assert (await answer.json())["echo"] == text


async def test_an_empty_answer_passes_at_once(fields: Gateway) -> None:
    async def empty(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.Response(status=204)

    fields.model = empty
    async with fields.post("/predict", json={"text": "a"}, headers=AUTH) as answer:
        assert answer.status == 204


async def test_a_dead_model_gives_an_error_and_not_silence(fields: Gateway) -> None:
    async def vanish(request: web.Request, _body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    fields.model = vanish
    async with fields.post("/predict", json={"text": "a"}, headers=AUTH) as answer:
        assert answer.status == 503
    record = await fields.record(answer)
    assert record.status == 503
