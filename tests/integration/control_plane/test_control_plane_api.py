"""The REST API over TLS: what each role may do, what is shown once, what the audit pages hold, what errors say."""

from __future__ import annotations

import hashlib
import json
import ssl
from typing import Any

import aiohttp
import pytest

from bartizan.cli.audit import records
from bartizan.cli.scan_audit import verdict_of
from bartizan.client import Client
from bartizan.errors import DependencyUnavailable, Forbidden, InvalidInput, NotFound
from bartizan.identity import JoinToken, secret_hash
from bartizan.policy.keyset import key_hash
from control_plane.store.base import AuditRow
from sidecar.scan.summary import Summary

SPIFFE = "spiffe://test.local/ns/prod/sa/model"


async def acts(house: Any) -> list[str]:
    async with house.store.begin() as work:
        return [event.act for event in await work.events.recent()]


async def test_the_bootstrap_token_makes_one_admin_token_and_dies(house: Any) -> None:
    assert not house.bootstrap.exists()
    async with house.client() as client:
        assert [token.role for token in await client.tokens()] == ["admin"]


async def test_a_key_is_shown_once_and_its_record_travels(house: Any) -> None:
    async with house.client() as client:
        with pytest.raises(NotFound):
            await client.issue_key("chat", tenant="acme")
        assert (await client.create_key_set("chat")).version == 1
        issued = await client.issue_key("chat", tenant="acme", plan="gold", models=("a",), ttl_seconds=60)
        listed = await client.keys("chat")
        assert [(key.id, key.tenant, key.revoked) for key in listed.keys] == [(issued.id, "acme", False)]
        await client.revoke_key("chat", issued.id)
        with pytest.raises(NotFound):
            await client.revoke_key("chat", issued.id)
    async with house.store.begin() as work:
        stored = await work.key_sets.get("chat")
    assert stored is not None
    assert stored.version == 3
    assert [(r.hash, r.revoked) for r in stored.keys] == [(key_hash(issued.key), True)]
    assert house.changed == ["chat", "chat", "chat"]
    assert (await acts(house))[:3] == ["key.revoke", "key.issue", "key_set.create"]


async def test_a_join_token_carries_the_digest_of_the_trust_document(house: Any) -> None:
    async with house.client() as client:
        token = JoinToken.decode(await client.join_token(SPIFFE, {"app": "chat"}))
        assert hashlib.sha256(await client.trust()).hexdigest() == token.trust
        for bad in ("spiffe://other/ns/a/sa/b", "nobody"):
            with pytest.raises(InvalidInput):
                await client.join_token(bad)
    async with house.store.begin() as work:
        row = await work.join_tokens.spend(secret_hash(token.secret), at=0)
    assert row is not None
    assert row.spiffe_id == SPIFFE


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", set()),
        ("author", {"apply"}),
        ("operator", {"keys", "join"}),
        ("auditor", {"audit"}),
        ("admin", {"apply", "keys", "join", "audit", "tokens"}),
    ],
)
async def test_each_role_may_do_its_own_things_only(
    house: Any, policy_text: str, role: str, allowed: set[str]
) -> None:
    async with house.client(await house.token(role)) as client:
        assert isinstance(await client.policies(), tuple)
        calls = {
            "apply": lambda: client.apply(policy_text),
            "keys": lambda: client.create_key_set("chat"),
            "join": lambda: client.join_token(SPIFFE),
            "audit": client.audit,
            "tokens": client.tokens,
        }
        for name, call in calls.items():
            if name in allowed:
                await call()
            else:
                with pytest.raises(Forbidden):
                    await call()


async def test_what_a_token_may_not_do_leaves_an_event_of_who_asked_for_what(
    house: Any, policy_text: str
) -> None:
    async with house.client(await house.token("viewer")) as client:
        await client.policies()
        with pytest.raises(Forbidden):
            await client.apply(policy_text)
        with pytest.raises(Forbidden):
            await client.undo("prod/chat")
    async with house.client(await house.token("auditor", tenants=("acme",))) as client:
        with pytest.raises(Forbidden):
            await client.events()
    async with house.client("bzt_guessed") as client:
        with pytest.raises(Forbidden):
            await client.policies()
    assert [(e.act, e.target, dict(e.detail)) for e in house.refused] == [
        ("api.refuse", "post_policies", {"role": "viewer", "path": "/v1/policies"}),
        (
            "api.refuse",
            "post_policies_namespace_name_undo",
            {"role": "viewer", "path": "/v1/policies/prod/chat/undo"},
        ),
        ("api.refuse", "get_events", {"role": "auditor", "path": "/v1/events"}),
    ]
    assert [e.actor.split(" (")[0] for e in house.refused] == ["viewer", "viewer", "auditor"]
    assert {e.peer for e in house.refused} == {"127.0.0.1"}


async def test_an_auditor_of_one_tenant_sees_only_that_tenant(house: Any) -> None:
    rows = [
        AuditRow(id=f"{n}", time=n, json=f'{{"id":"{n}"}}', tenant=tenant)
        for n, tenant in enumerate(["acme", "globex", "", "acme"])
    ]
    async with house.store.begin() as work:
        await work.audit.add(rows)
    async with house.client(await house.token("auditor", tenants=("acme",))) as client:
        assert [record["id"] for record in await client.audit()] == ["3", "0"]
        first = await client.audit_page(limit=1)
        assert [r["id"] for r in (await client.audit_page(limit=1, cursor=first.cursor)).records] == ["0"]
        with pytest.raises(Forbidden):
            await client.audit(tenant="globex")
        with pytest.raises(Forbidden):
            await client.events()
    async with house.client() as client:
        assert len(await client.audit()) == 4


async def test_revoked_and_unknown_tokens_are_refused(house: Any) -> None:
    async with house.client() as client:
        made = await client.create_token(role="viewer", name="v")
        async with house.client(made.token) as viewer:
            await viewer.policies()
            await client.revoke_token(made.id)
            with pytest.raises(Forbidden):
                await viewer.policies()
    for token in ("", "bzt_wrong", "other"):
        async with house.client(token) as client:
            with pytest.raises(Forbidden):
                await client.policies()


async def test_readiness_names_its_reasons(house: Any) -> None:
    async with house.client("") as client:
        assert (await client.health()).status == "ok"
        house.reasons.append("vault_unavailable")
        assert (await client.health()).reasons == ("vault_unavailable",)


async def test_a_good_certificate_under_another_name_is_not_blamed_on_the_ca(house: Any) -> None:
    other = Client(house.url.replace("127.0.0.1", "localhost"), house.admin, ca_file=house.ca_file)
    async with other as client:
        with pytest.raises(DependencyUnavailable, match="for other names"):
            await client.tokens()


async def test_a_client_with_another_ca_gets_no_answer(house: Any) -> None:
    house.ca_file = None
    async with house.client() as client:
        with pytest.raises(DependencyUnavailable, match="does not vouch"):
            await client.policies()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("GET", "/v1/none", {}, b"", 404, "not_found"),
        ("PATCH", "/v1/policies", {}, b"", 405, "method_not_allowed"),
        ("POST", "/v1/tokens", {"content-type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
        ("POST", "/v1/tokens", {"content-type": "application/json"}, b"{", 400, "malformed_json"),
        (
            "POST",
            "/v1/tokens",
            {"content-type": "application/json"},
            b'{"role":"king"}',
            422,
            "invalid_input",
        ),
        ("POST", "/v1/tokens", {"content-type": "application/json"}, b" " * 600_000, 413, "too_large"),
        ("GET", "/v1/policies?nope=1", {}, b"", 422, "invalid_input"),
        ("GET", "/v1/policies?namespace=a&namespace=b", {}, b"", 422, "invalid_input"),
        ("GET", "/v1/audit?cursor=%21", {}, b"", 422, "invalid_input"),
        ("GET", "/v1/policies/prod/none", {}, b"", 404, "not_found"),
        ("PUT", "/v1/key-sets/NOPE", {}, b"", 422, "invalid_input"),
    ],
)
async def test_every_refusal_is_a_problem_document(
    house: Any, method: str, path: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:

    context = ssl.create_default_context(cafile=house.ca_file)
    sent = {"authorization": f"Bearer {house.admin}", "x-request-id": "test-request-1", **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, house.url + path, headers=sent, data=body or None, ssl=context) as answer,
    ):
        told = await answer.json(content_type="application/problem+json")
        assert (answer.status, told["status"], told["code"]) == (status, status, code)
        assert answer.headers["x-request-id"] == told["request_id"] == "test-request-1"


async def test_a_scan_of_the_audit_pages_through_all_records_and_counts_their_findings(house: Any) -> None:
    finding = {"check": "pii", "kind": "email", "action": "redact", "location": "text"}
    rows = [
        AuditRow(
            id=f"{n}",
            time=n,
            tenant="acme",
            json=json.dumps(
                {
                    "id": f"{n}",
                    "tenant": "acme",
                    "action": "redact" if n % 3 == 0 else "allow",
                    "findings": [finding] if n % 3 == 0 else [],
                }
            ),
        )
        for n in range(1_200)
    ]
    async with house.store.begin() as work:
        await work.audit.add(rows)
    async with house.client() as client:
        seen = [record async for record in records(client, {"tenant": "acme"})]
        first = [record async for record in records(client, {"tenant": "acme"}, 1_100)]
    assert len(seen) == 1_200
    assert first == seen[:1_100]
    made = Summary()
    for index, record in enumerate(seen):
        verdict, source = verdict_of(record)
        made.add(index, verdict, source, "")
    assert made.data()["kinds"] == {"pii:email": 400}
    assert made.data()["sources"][0] == {
        "source": "acme",
        "lines": 1_200,
        "hits": 400,
        "kinds": {"pii:email": 400},
    }
