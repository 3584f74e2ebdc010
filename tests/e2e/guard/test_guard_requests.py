"""The guard worker behind real Envoy: which requests pass, what of them reaches the model, what the record says."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from bartizan.policy import names
from bartizan.policy.canonical import plan_hash
from sidecar.plan.probe import Probe, probe_header, proof
from tests.e2e.guard.conftest import AUTH
from tests.support.gateway import Gateway
from tests.support.guard import PROBE_KEY

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("guard-requests"),
    pytest.mark.asyncio(loop_scope="module"),
]


async def test_without_a_key_nothing_reaches_the_model(fields: Gateway) -> None:
    async with fields.post("/predict", json={"text": "hello"}) as answer:
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        decision = answer.headers[names.HEADER_DECISION]
        assert decision in await answer.text()
    assert not fields.received
    record = await fields.record(answer)
    assert (record.id, record.cause, record.status) == (decision, "missing_credentials", 401)


async def test_text_is_redacted_on_its_way_in_and_scores_are_rounded_on_their_way_out(
    fields: Gateway,
) -> None:
    async with fields.post("/predict", json={"text": "write to jane@example.org"}, headers=AUTH) as answer:
        assert answer.status == 200
        said = await answer.json()
    assert said["probabilities"] == {"good": 0.88, "bad": 0.12}
    (body,) = fields.received
    assert b"jane@example.org" not in body
    assert json.loads(body)["text"].startswith("write to ")
    (seen,) = fields.headers
    assert not {"x-api-key", "authorization", names.HEADER_DECISION} & set(seen)
    record = await fields.record(answer)
    assert (record.phase, record.action, record.cause, record.status) == (
        "response",
        "redact",
        "allowed",
        200,
    )
    assert {finding.check for finding in record.findings} == {"pii", "probabilities"}
    assert (record.tenant, record.path, record.unscanned_reason) == ("acme", "/predict", "")
    assert record.request_scanned == len("write to jane@example.org")
    assert record.response_bytes > 0


@pytest.mark.parametrize(
    ("options", "status", "cause"),
    [
        ({"data": b'{"text": ', "headers": {"content-type": "application/json"}}, 400, "malformed_body"),
        ({"data": b"", "headers": {"content-type": "application/json"}}, 400, "malformed_body"),
        (
            {"data": b'{"text": "a", "text": "b"}', "headers": {"content-type": "application/json"}},
            400,
            "duplicate_keys",
        ),
        (
            {"data": b'{"text": ' + b"[" * 99, "headers": {"content-type": "application/json"}},
            400,
            "body_too_deep",
        ),
        ({"data": b"text=a", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        (
            {"data": b"x", "headers": {"content-type": "application/json", "content-encoding": "br"}},
            415,
            "unsupported_encoding",
        ),
    ],
)
async def test_a_bad_request_is_refused_before_the_model(
    fields: Gateway, options: dict[str, Any], status: int, cause: str
) -> None:
    options["headers"] = {**options["headers"], **AUTH}
    async with fields.post("/predict", **options) as answer:
        assert answer.status == status, await answer.text()
        decision = answer.headers[names.HEADER_DECISION]
    assert not fields.received
    record = await fields.record(answer)
    assert (record.id, record.cause, record.status) == (decision, cause, status)


async def test_gzip_is_read_plain_by_guard_and_model(fields: Gateway) -> None:
    packed = gzip.compress(json.dumps({"text": "mail jane@example.org"}).encode())
    headers = {**AUTH, "content-type": "application/json", "content-encoding": "gzip"}
    async with fields.post("/predict", data=packed, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    assert b"jane@example.org" not in fields.received[0]
    assert json.loads(fields.received[0])


async def test_a_body_above_the_limit_is_413_and_below_it_passes(fields: Gateway) -> None:
    async with fields.post("/predict", json={"text": "a" * 65536}, headers=AUTH) as answer:
        assert answer.status == 413
    assert not fields.received
    async with fields.post("/predict", json={"text": "a" * 60000}, headers=AUTH) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("phase", ["authz", "content"])
async def test_probes_prove_the_plan_and_never_reach_the_model(fields: Gateway, phase: Any) -> None:
    nonce = "ab" * 16
    headers = {names.HEADER_PROBE: probe_header(PROBE_KEY, nonce, phase), "content-type": "application/json"}
    async with fields.post("/predict", data=b'{"probe":', headers=headers) as answer:
        assert answer.status == (401 if phase == "authz" else 400)
        expected = proof(PROBE_KEY, Probe(nonce=nonce, phase=phase), plan_hash(fields.bundle.plan))
        assert answer.headers[names.HEADER_PROOF] == expected
    headers[names.HEADER_PROBE] = probe_header(bytes(32), nonce, phase)
    async with fields.post("/predict", data=b'{"probe":', headers=headers) as answer:
        assert answer.status == 401
        assert names.HEADER_PROOF not in answer.headers
    async with fields.post("/predict", json={"text": "a"}, headers={**headers, **AUTH}) as answer:
        assert answer.status == 404
    assert not fields.received


async def test_many_requests_at_once_all_get_their_own_answer(fields: Gateway) -> None:
    async def one(number: int) -> Any:
        async with fields.post("/predict", json={"text": f"number {number}"}, headers=AUTH) as answer:
            assert answer.status == 200, await answer.text()
            assert (await answer.json())["echo"] == f"number {number}"
            return answer

    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(one(number) for number in range(100)))
    records = [await fields.record(answer) for answer in answers]
    assert len({record.id for record in records}) == 100
