"""Headers of a model's answers, through a real Envoy: what canaries and secrets say of them holds for clients."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from tests.support.gateway import Gateway
from tests.support.guard import KEY

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("answer_headers"),
    pytest.mark.asyncio(loop_scope="module"),
]

CANARY = "canary-7f3a9c21"
SECRET = "AKIA" + "Q3EGRIJ7SNNH2LKP"
POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: openai}
spec:
  selector: {matchLabels: {app: openai}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: openai, protocol: openai, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  output: [{secrets: {action: redact}}, {canary: {tokens: [canary-7f3a9c21], action: cut}}]
"""
WHOLE = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}}]}).encode()
STREAM = b'data: {"choices": [{"index": 0, "delta": {"content": "fine"}}]}\n\ndata: [DONE]\n\n'


def answers(body: bytes, kind: str, status: int = 200, **headers: str) -> Any:
    async def model(_request: web.Request, _body: bytes) -> web.StreamResponse:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, content_type=kind, status=status, headers=said)

    return model


def ask(served: Gateway) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return served.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (WHOLE, "application/json", 200),
        (STREAM, "text/event-stream", 200),
        (b"", "text/plain", 200),
        (b"oh no", "text/plain", 500),
    ],
)
@pytest.mark.parametrize("before", ["", "one word after another " * 40], ids=["short", "long"])
async def test_a_header_with_a_secret_is_taken_out_and_the_answer_goes_on(
    served: Gateway, body: bytes, kind: str, status: int, before: str
) -> None:
    served.model = answers(body, kind, status, x_used=f"{before}key {SECRET}", x_kept="fine")
    async with ask(served) as got:
        assert got.status == status
        assert "x-used" not in got.headers
        assert got.headers["x-kept"] == "fine"
        assert (b"fine" in await got.read()) is (b"fine" in body)
    record = await served.guard.next_record()
    assert ("secrets", "headers.x-used") in [(found.check, found.location) for found in record.findings]
    assert record.action == "redact"


async def test_an_answer_with_a_canary_in_a_header_is_refused(served: Gateway) -> None:
    served.model = answers(WHOLE, "application/json", x_prompt=f"You are {CANARY}")
    async with ask(served) as got:
        assert got.status == 403
        assert CANARY not in str(got.headers) + await got.text()
    assert (await served.guard.next_record()).cause == "answer_denied"


async def test_an_answer_with_a_secret_in_a_header_that_envoy_takes_out_for_nobody_is_refused(
    served: Gateway,
) -> None:
    served.model = answers(WHOLE, "application/json", host=f"key {SECRET}")
    async with ask(served) as got:
        assert got.status == 403
        assert SECRET not in str(got.headers)
    assert (await served.guard.next_record()).cause == "answer_denied"
