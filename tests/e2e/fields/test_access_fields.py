"""Who gets in, how often and with how much, against real Envoy, agent and worker: each test fails when its field is ignored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.field_world import Answer, World
from tests.support.raw_client import wait_until
from tests.support.tokens import AUDIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]


def test_only_listed_tenants_and_keys_of_the_named_set_get_in(world: World) -> None:
    world.use(tenants=["globex"])
    assert [world.ask(key=key).status for key in ("globex", "acme", "other", "")] == [200, 403, 403, 401]
    # local mode holds one key set: a policy that names another knows none of its keys
    jwt = {
        "issuer": "{issuer}",
        "jwksUri": "{issuer}/jwks",
        "audiences": [AUDIENCE],
        "claims": {"tenant": "org"},
    }
    world.use(authn={"apiKeys": {"set": "elsewhere"}, "jwt": [jwt]})
    assert world.ask(key="acme").status == 401


def test_tokens_are_judged_by_issuer_audience_and_keys_and_claims_make_the_identity(world: World) -> None:
    def with_jwt(**changes: Any) -> dict[str, Any]:
        jwt = {"issuer": "{issuer}", "jwksUri": "{issuer}/jwks", "audiences": [AUDIENCE]}
        return {"jwt": [{**jwt, "claims": {"tenant": "org"}, **changes}]}

    def status() -> int:
        found = 0

        def settled() -> bool:
            nonlocal found
            found = world.ask(token=world.issuer.token("good")).status
            return found == 200

        wait_until(settled)
        return found

    world.use(authn=with_jwt())
    assert status() == 200
    assert world.ask(token=world.issuer.token("foreign_key")).status == 401
    assert world.ask(token=world.issuer.token("foreign_tenant")).status == 403
    assert world.ask(key="acme").status == 401
    mapped = {"tenant": "org", "plan": "iss", "region": "aud", "subject": "org"}
    rule = f'identity.plan == "{world.issuer.url}" && identity.region == "{AUDIENCE}" && identity.subject == "{world.issuer.url}#acme"'
    world.use(authn=with_jwt(claims=mapped), authz=[{"name": "claims", "allow": rule}])
    assert status() == 200
    for name in ("plan", "region", "subject"):
        claims = {key: claim for key, claim in mapped.items() if key != name}
        world.use(authn=with_jwt(claims=claims), authz=[{"name": "claims", "allow": rule}])
        assert world.ask(token=world.issuer.token("good")).status == 403, name
    world.use(authn=with_jwt(audiences=["elsewhere"]))
    assert world.ask(token=world.issuer.token("good")).status == 401
    world.use(authn=with_jwt(issuer="https://issuer.example", jwksUri="{issuer}/jwks"))
    assert world.ask(token=world.issuer.token("good")).status == 401


def test_rules_allow_and_deny_and_records_name_them(world: World) -> None:
    model = {"name": "m-1", "protocol": "openai", "port": "{model}"}
    rules = [
        {"name": "known-tenants", "allow": 'identity.tenant == "acme" || identity.key_id == "nobody"'},
        {"name": "not-second", "deny": 'identity.key_id == "acme2"'},
        {"name": "small-only", "deny": 'request.model == "large" || request.max_tokens > 100'},
    ]
    world.use(model=model, routes=None, authz=rules)
    world.model.says = "chat"

    def ask(key: str, **body: Any) -> Answer:
        return world.ask("/v1/chat/completions", {"messages": [], **body}, key=key)

    assert ask("acme", model="small").status == 200
    for key, body, rule in (
        ("globex", {}, "no_allow"),
        ("acme2", {}, "not-second"),
        ("acme", {"model": "large"}, "small-only"),
        ("acme", {"max_tokens": 101}, "small-only"),
    ):
        before, refused = world.reached(), ask(key, **body)
        assert (refused.status, world.reached()) == (403, before), rule
        if rule != "no_allow":
            assert world.record(refused)["detail"] == rule


@pytest.mark.parametrize(
    ("per", "limit", "keys", "allowed"),
    [
        ("key", {"rate": "1/h", "burst": 2}, ("acme", "acme", "acme", "acme2"), [200, 200, 429, 200]),
        ("tenant", {"rate": "1/h", "burst": 2}, ("acme", "acme2", "acme", "globex"), [200, 200, 429, 200]),
        ("sidecar", {"rate": "1/h", "burst": 2}, ("acme", "globex", "acme2"), [200, 200, 429]),
        ("key", {"rate": "3/h"}, ("acme", "acme", "acme", "acme"), [200, 200, 200, 429]),
    ],
)
def test_requests_are_counted_per_key_tenant_or_sidecar(
    world: World, per: str, limit: dict[str, Any], keys: tuple[str, ...], allowed: list[int]
) -> None:
    # a policy of its own: buckets outlive publications
    world.use({"name": f"limits-{world.version}"}, limits={"requests": [{"per": per, **limit}]})
    answers = [world.ask(key=key) for key in keys]
    assert [answer.status for answer in answers] == allowed
    refused = next(answer for answer in answers if answer.status == 429)
    assert 600 < int(refused.headers["retry-after"]) <= 3600


def test_a_rate_refills_its_bucket(world: World) -> None:
    world.use({"name": "refill"}, limits={"requests": [{"per": "key", "rate": "20/m", "burst": 1}]})
    assert world.ask().status == 200
    assert wait_until(lambda: world.ask().status == 429)
    assert wait_until(lambda: world.ask().status == 200)


def test_bodies_are_bounded_in_size_and_depth(world: World) -> None:
    world.use(limits={"body": {"max": "64B", "jsonDepth": 4}}, input=[{"pii": {}}])
    assert world.ask("/in", {"text": "a" * 20}).status == 200
    assert world.ask("/in", {"text": "a" * 80}).status == 413
    assert world.ask("/in", b'{"text": "a", "b": [[[1]]]}').status == 200
    assert world.ask("/in", b'{"text": "a", "b": [[[[1]]]]}').status == 400
