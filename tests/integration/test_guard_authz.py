"""The real worker process answers ext_authz over its unix socket."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from joserfc import jwt
from joserfc.jwk import ECKey

from bartizan.policy import names
from bartizan.policy.bundle import RateLimit
from bartizan.policy.canonical import plan_hash
from bartizan.policy.schema import AuthzRule, Jwt
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from sidecar.agent.messages import SetJwks, SetKeys
from sidecar.plan.probe import Probe, probe_header, proof
from tests.support.guard import (
    EXPIRED_KEY,
    KEY,
    OTHER_KEY,
    PROBE_KEY,
    REVOKED_KEY,
    GuardWorker,
    guard_plan,
    guard_worker,
    key_set,
)


@pytest_asyncio.fixture
async def worker() -> AsyncIterator[GuardWorker]:
    async with guard_worker() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting() -> AsyncIterator[GuardWorker]:
    """One worker for all cases of a table: each leaves it as it was, with every record read."""
    async with guard_worker() as running:
        await running.load(guard_plan())
        yield running


def denied_headers(reply: CheckResponse) -> dict[str, str]:
    return {item.header.key: item.header.value for item in reply.denied_response.headers}


async def test_answers_only_on_a_private_socket_and_says_that_it_is_healthy(worker: GuardWorker) -> None:
    await worker.check()
    assert stat.S_IMODE(worker.socket.stat().st_mode) == 0o600
    health = health_pb2_grpc.HealthStub(worker.wire)
    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_loading_a_plan_reports_its_hash_and_a_bad_plan_its_reason(worker: GuardWorker) -> None:
    plan = guard_plan()
    assert (await worker.load(plan)).hash == plan_hash(plan)
    bad = await worker.load(guard_plan(id="1.2", authz=(AuthzRule(name="r", allow="identity.nope"),)))
    assert (bad.hash, bad.plan_id) == ("", "1.2")
    assert "compile" in bad.error


def handed_on(reply: CheckResponse) -> dict[str, Any]:
    """What the check says to ext_proc."""
    said: dict[str, Any] = json.loads(str(reply.dynamic_metadata["handed"]))
    return said


async def test_a_valid_key_passes_and_its_identity_goes_on_without_the_credential(
    worker: GuardWorker,
) -> None:
    await worker.load(guard_plan())
    without_content_hop = await worker.check({"x-api-key": KEY})
    record = await worker.next_record()
    assert without_content_hop.dynamic_metadata["decision_id"] == record.id
    # for Envoy's own records of what comes after; never who asked
    caller = {"tenant": "acme", "key_id": "k1"}
    assert handed_on(without_content_hop) == {"decision_id": record.id, "revision": "1.1", **caller}
    reply = await worker.check({"x-api-key": KEY}, content=True)
    assert reply.status.code == 0
    assert set(reply.ok_response.headers_to_remove) == {"authorization", "x-api-key"}
    assert not reply.ok_response.headers
    handed = handed_on(reply)
    assert len(handed.pop("decision_id")) == 32
    assert handed == {
        "revision": "1.1",
        "source_address": "203.0.113.77",
        "identity": {
            "subject": "k1",
            "tenant": "acme",
            "method": "api_key",
            "key_id": "k1",
            "plan": "gold",
            "region": "eu",
            "models": [],
        },
    }
    assert (record.action, record.cause, record.phase) == ("allow", "allowed", "authz")
    assert (record.tenant, record.key_id, record.path) == ("acme", "k1", "/predict")
    assert record.source_address == "203.0.113.0/24"
    assert record.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert (record.revision, record.policy, record.instance_id) == ("1.1", "default/test", "i1")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.xdist_group("guard_authz")
@pytest.mark.parametrize(
    ("headers", "status", "cause"),
    [
        ({}, 401, "missing_credentials"),
        ({"x-api-key": "bzk_" + "z" * 43}, 401, "invalid_credentials"),
        ({"x-api-key": "something"}, 401, "invalid_credentials"),
        ({"authorization": "Basic Zm9v"}, 401, "invalid_credentials"),
        ({"x-api-key": REVOKED_KEY}, 401, "revoked_credentials"),
        ({"x-api-key": EXPIRED_KEY}, 401, "expired_credentials"),
        ({"x-api-key": KEY, "authorization": f"Bearer {OTHER_KEY}"}, 401, "credentials_disagree"),
        ({"x-api-key": KEY, "authorization": "Bearer a.b.c"}, 401, "invalid_credentials"),
        ({"x-api-key": f"{KEY},{KEY}"}, 401, "invalid_credentials"),
        ({"x-api-key": OTHER_KEY}, 403, "tenant_not_allowed"),
        ({"x-api-key": KEY, "content-encoding": "br"}, 415, "unsupported_encoding"),
    ],
)
async def test_refusals_have_status_cause_body_and_decision_id(
    lasting: GuardWorker, headers: dict[str, str], status: int, cause: str
) -> None:
    reply = await lasting.check(headers)
    assert reply.denied_response.status.code == status
    said = denied_headers(reply)
    record = await lasting.next_record()
    assert (record.cause, record.status, record.action) == (cause, status, "deny")
    assert said[names.HEADER_DECISION] == record.id
    assert said["content-type"].startswith("application/")
    assert (said.get("www-authenticate") == "Bearer") == (status == 401)
    assert record.id in reply.denied_response.body
    assert "rule" not in reply.denied_response.body


async def test_no_plan_refuses_everything_and_an_unknown_one_asks_to_come_back(worker: GuardWorker) -> None:
    none = await worker.check({"x-api-key": KEY}, revision="")
    assert none.denied_response.status.code == 403
    assert (await worker.next_record()).cause == "no_policy"
    early = await worker.check({"x-api-key": KEY})  # the worker has just started: its plan is on the way
    await worker.load(guard_plan())
    unknown = await worker.check({"x-api-key": KEY}, revision="9.9")
    for reply in (early, unknown):
        assert reply.denied_response.status.code == 503
        assert denied_headers(reply)["retry-after"] == "1"
        assert (await worker.next_record()).cause == "revision_unknown"


async def test_rules_decide_and_their_names_stay_inside(worker: GuardWorker) -> None:
    rules = (
        AuthzRule(name="only-gold", allow='identity.plan == "gold"'),
        AuthzRule(name="not-here", deny='request.path == "/secret"'),
    )
    await worker.load(guard_plan(authz=rules))
    assert (await worker.check({"x-api-key": KEY})).status.code == 0
    refused = await worker.check({"x-api-key": KEY}, path="/secret?x=1")
    assert refused.denied_response.status.code == 403
    assert "not-here" not in refused.denied_response.body
    await worker.next_record()
    record = await worker.next_record()
    assert (record.cause, record.detail, record.path) == ("forbidden", "not-here", "")


async def test_a_rate_is_charged_once_for_a_retried_call(worker: GuardWorker) -> None:
    await worker.load(guard_plan(rate_limits=(RateLimit(per="key", per_second=0.001, burst=2),)))
    for _ in range(3):
        assert (await worker.check({"x-api-key": KEY}, stream_id="same")).status.code == 0
    assert (await worker.check({"x-api-key": KEY}, stream_id="second")).status.code == 0
    limited = await worker.check({"x-api-key": KEY}, stream_id="third")
    assert limited.denied_response.status.code == 429
    assert int(denied_headers(limited)["retry-after"]) > 1


async def test_publishing_a_policy_refills_nobody(worker: GuardWorker) -> None:
    limits = (RateLimit(per="key", per_second=0.001, burst=1),)
    await worker.load(guard_plan(rate_limits=limits))
    assert (await worker.check({"x-api-key": KEY}, stream_id="1")).status.code == 0
    await worker.load(guard_plan(id="2.2", revision=2, rate_limits=limits))
    again = await worker.check({"x-api-key": KEY}, stream_id="2", revision="2.2")
    assert again.denied_response.status.code == 429


async def test_shadow_enforces_authentication_only_and_records_the_rest(worker: GuardWorker) -> None:
    await worker.load(guard_plan(mode="shadow"))
    assert (await worker.check({})).denied_response.status.code == 401
    assert (await worker.check({"x-api-key": OTHER_KEY})).status.code == 0
    await worker.next_record()
    record = await worker.next_record()
    assert (record.action, record.cause, record.shadow) == ("deny", "tenant_not_allowed", True)


async def test_an_older_key_set_does_not_bring_a_revoked_key_back(worker: GuardWorker) -> None:
    await worker.load(guard_plan())
    current = key_set(version=5)
    revoked = tuple(msgspec.structs.replace(key, revoked=True) for key in current.keys)
    await worker.set_keys(msgspec.structs.replace(current, keys=revoked))
    await worker.channel.send(SetKeys(key_set=key_set(version=4)))
    await worker.metrics()  # answered in order: the older set was seen
    assert (await worker.check({"x-api-key": KEY})).denied_response.status.code == 401


async def test_a_genuine_probe_gets_the_proof_of_its_plan_and_leaves_no_trace(worker: GuardWorker) -> None:
    plan = guard_plan()
    await worker.load(plan)
    nonce = "0" * 32
    header = probe_header(PROBE_KEY, nonce, "authz")
    reply = await worker.check({names.HEADER_PROBE: header})
    said = denied_headers(reply)
    assert reply.denied_response.status.code == 401
    assert said[names.HEADER_PROOF] == proof(PROBE_KEY, Probe(nonce=nonce, phase="authz"), plan_hash(plan))
    forged = await worker.check({names.HEADER_PROBE: header[:-1] + ("0" if header[-1] != "0" else "1")})
    assert names.HEADER_PROOF not in denied_headers(forged)
    assert (await worker.next_record()).cause == "missing_credentials"  # of the forged one: probes leave none
    assert (await worker.metrics())[
        'bartizan_decisions_total{action="deny",cause="missing_credentials",phase="authn"}'
    ] == 1


async def test_a_token_counts_from_when_its_issuers_keys_are_there(worker: GuardWorker) -> None:
    issuer = "https://idp.example"
    key = ECKey.generate_key("P-256")
    await worker.load(guard_plan(jwt=(Jwt(issuer=issuer, audiences=("a",), claims={"tenant": "org"}),)))
    claims = {"iss": issuer, "aud": "a", "sub": "u", "org": "acme", "exp": int(time.time()) + 300}
    token = jwt.encode({"alg": "ES256", "kid": "1"}, claims, key)
    headers = {"authorization": f"Bearer {token}"}
    assert (await worker.check(headers)).denied_response.status.code == 401
    document = {"keys": [{**key.as_dict(private=False), "kid": "1"}]}
    await worker.channel.send(SetJwks(issuer=issuer, jwks=document))
    await worker.metrics()
    assert (await worker.check(headers)).status.code == 0
    await worker.channel.send(SetJwks(issuer=issuer, jwks={"broken": True}))
    await worker.metrics()
    assert (await worker.check(headers)).status.code == 0  # the old keys stay
    both = await worker.check({**headers, "x-api-key": KEY}, content=True)
    assert handed_on(both)["identity"]["key_id"] == "k1"
    disagree = await worker.check({**headers, "x-api-key": OTHER_KEY})
    assert disagree.denied_response.status.code == 401


async def test_garbage_is_refused_and_not_an_error(worker: GuardWorker) -> None:
    reply = await worker.check_raw(b"\xff\xff\xff")
    assert reply.denied_response.status.code == 503
    assert (await worker.next_record()).cause == "fault"


async def test_a_worker_that_is_told_to_stop_sends_its_records_first(worker: GuardWorker) -> None:
    await worker.load(guard_plan())
    for number in range(20):
        await worker.check({"x-api-key": KEY}, stream_id=str(number))
    worker.child.signal(signal.SIGTERM)
    for _ in range(20):
        assert (await worker.next_record()).cause == "allowed"
    async with asyncio.timeout(60):
        assert await worker.child.process.wait() == 0


async def test_the_worker_ends_with_its_agent(worker: GuardWorker) -> None:
    worker.channel.close()
    async with asyncio.timeout(60):
        assert await worker.child.process.wait() == 0
