"""Where a policy serves, what its model is and which routes it has, against real Envoy, agent and worker: each test fails
when its field is ignored. Which test proves which field stands in tests/support/field_proofs.py.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any

import pytest
import trustme

from bartizan.local.processes import free_port
from tests.support.field_world import EMAIL, Answer, World
from tests.support.raw_client import wait_until
from tests.support.raw_model import RawModel

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]


def opens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_the_document_names_the_policy_everywhere(world: World) -> None:
    world.use({"name": "named", "namespace": "prod"}, tenants=["globex"])
    refused = world.ask(key="acme")
    assert refused.status == 403
    assert world.record(refused)["policy"] == "prod/named"


def test_the_listener_is_where_the_policy_says(world: World) -> None:
    port = free_port()
    world.use(listener={"address": "127.0.0.2", "port": port, "tls": "none"})
    assert world.ask(address=("127.0.0.2", port)).status == 200
    assert not opens("127.0.0.1", port)
    assert wait_until(lambda: not opens("127.0.0.1", world.sidecar.port))


def test_the_listener_serves_the_certificate_that_the_policy_names(world: World) -> None:
    ca = trustme.CA()
    made = ca.issue_cert("localhost", "127.0.0.1")
    certs = world.sidecar.folder / "certs"
    made.cert_chain_pems[0].write_to_path(str(certs / "one.crt"))
    made.private_key_pem.write_to_path(str(certs / "one.key"))
    world.use(
        listener={
            "address": "127.0.0.1",
            "port": "{port}",
            "tls": {"cert": "file:one.crt", "key": "file:one.key"},
        }
    )
    context = ssl.create_default_context()
    ca.configure_trust(context)
    assert wait_until(lambda: _status(world, context) == 200)
    with pytest.raises((OSError, http.client.HTTPException)):
        world.ask()
    world.use()
    assert wait_until(lambda: _status(world, None) == 200), "plain again"


def _status(world: World, context: ssl.SSLContext | None) -> int:
    try:
        return world.ask(context=context).status
    except (OSError, http.client.HTTPException):
        return 0


def test_rules_see_the_model_as_the_policy_describes_it(world: World) -> None:
    rules = [{"name": "gold-only", "allow": 'model.name == "m-1" && model.labels.tier == "gold"'}]
    for name, tier, status in (("m-1", "gold", 200), ("m-2", "gold", 403), ("m-1", "tin", 403)):
        model = {"name": name, "protocol": "json_fields", "port": "{model}", "labels": {"tier": tier}}
        world.use(model=model, authz=rules)
        assert world.ask().status == status, (name, tier)


def test_requests_go_to_the_models_port(world: World) -> None:
    other = RawModel("echo")
    try:
        world.use(model={"name": "m-1", "protocol": "json_fields", "port": other.port})
        before = world.reached()
        assert world.ask().status == 200
        assert (len(other.received), world.reached()) == (1, before)
    finally:
        other.down()


def test_the_protocol_decides_what_a_body_is(world: World) -> None:
    checks: dict[str, Any] = {"input": [{"pii": {"types": ["email"], "action": "deny"}}]}
    world.use(**checks)
    assert world.ask("/in", {"text": EMAIL}).status == 403
    assert world.ask("/in", {"other": EMAIL}).status == 400
    assert world.ask("/v1/models", method="GET").status == 404
    world.use(model={"name": "m", "protocol": "openai", "port": "{model}"}, routes=None, **checks)
    world.model.says = "chat"
    chat = "/v1/chat/completions"
    assert world.ask(chat, {"messages": [{"role": "user", "content": EMAIL}]}).status == 403
    assert world.ask(chat, {"messages": [{"role": "user", "content": "hello"}]}).status == 200
    assert world.ask("/v1/models", method="GET").status == 200
    assert world.ask("/in").status == 404
    world.use(model={"name": "m", "protocol": "opaque", "port": "{model}"}, routes=[{"path": "/any"}])
    assert world.ask("/any", b"\xff\x00 " + EMAIL.encode()).status == 200


def test_only_declared_routes_and_methods_are_served(world: World) -> None:
    methods = ("GET", "POST", "PUT", "DELETE")
    world.use(routes=[{"path": f"/{method.lower()}", "method": method} for method in methods])
    for method in methods:
        for tried in methods:
            before = world.reached()
            status = world.ask(f"/{method.lower()}", method=tried).status
            assert (status, world.reached() - before) == ((200, 1) if tried == method else (404, 0))
    assert world.ask("/elsewhere").status == 404


def test_declared_fields_are_inspected_and_others_not(world: World) -> None:
    world.use(
        routes=[
            {"path": "/in", "inputText": ["$.text"]},
            {"path": "/out", "outputText": ["$.echo"], "outputScores": ["$.probabilities"]},
            {"path": "/neither"},
        ],
        input=[{"pii": {"types": ["email"]}}],
        output=[{"pii": {"types": ["email"]}}, {"probabilities": {"decimals": 1}}],
    )
    body = {"text": EMAIL, "note": EMAIL}
    into = world.ask("/in", body)
    assert json.loads(world.model.received[-1].body) == {"text": "[EMAIL]", "note": EMAIL}
    assert into.json()["probabilities"]["good"] == 0.87654321
    out = world.ask("/out", body)
    assert world.said() == EMAIL
    assert out.json() == {"echo": "[EMAIL]", "probabilities": {"good": 0.9, "bad": 0.1}}
    neither = world.ask("/neither", body)
    assert neither.json() == {"echo": EMAIL, "probabilities": {"good": 0.87654321, "bad": 0.12345679}}


def traces(world: World, answers: list[Answer]) -> set[str]:
    """Their trace ids, as the records have them."""
    decisions = {answer.headers["x-bartizan-decision"] for answer in answers}
    found: dict[str, str] = {}

    def recorded() -> bool:
        found.update(
            (one["id"], one["trace_id"]) for one in world.sidecar.records() if one["id"] in decisions
        )
        return len(found) == len(decisions)

    assert wait_until(recorded)
    return set(found.values())


def test_the_share_of_traced_requests_is_the_policys(world: World) -> None:
    world.use(telemetry={"traceSample": 0})
    # nothing is drawn, and yet one trace id in every record, also of what Envoy refuses by itself; refusals are told
    refused = traces(world, [world.ask(key="")])
    untraced = traces(world, [world.ask(), world.ask("/no-such-route")])
    untraced |= traces(world, [world.ask() for _ in range(20)])
    assert {len(one) for one in untraced | refused} == {32}
    assert wait_until(lambda: refused <= world.spans.traces)
    world.use(telemetry={"traceSample": 1})
    traced = traces(world, [world.ask() for _ in range(20)])
    told = [one.headers["traceparent"].split("-") for one in world.model.received[-20:]]
    assert {trace for _, trace, _, _ in told} == traced, "the model's own spans join them"
    assert {flags for _, _, _, flags in told} == {"01"}
    assert wait_until(lambda: traced <= world.spans.traces), len(traced - world.spans.traces)
    assert not untraced & world.spans.traces
    world.use(telemetry={"traceSample": 0.3})
    asked = traces(world, [world.ask() for _ in range(200)])
    # 60 on average; less than once in 100,000 runs outside of these bounds
    assert wait_until(lambda: len(asked & world.spans.traces) >= 30), len(asked & world.spans.traces)
    assert wait_until(lambda: world.spans.quiet(1.0))
    assert len(asked & world.spans.traces) <= 92


def test_a_stream_that_was_cut_is_told_although_nobody_drew_it_and_in_shadow_nothing_is(world: World) -> None:
    canary = {"canary": {"tokens": ["canary-7f3a9c21"], "action": "cut"}}
    chat = {"model": {"name": "m", "protocol": "openai", "port": "{model}"}, "routes": None}
    body = {"stream": True, "messages": [{"role": "user", "content": "hi"}]}
    cut = set[str]()
    for mode, says in (("shadow", "sse_canary_late"), ("enforce", "sse_canary")):
        world.use(**chat, output=[canary], mode=mode, telemetry={"traceSample": 0})
        world.model.says = says
        answer = world.ask("/v1/chat/completions", body)
        assert world.record(answer)["action"] == "cut"
        cut |= (last := traces(world, [answer]))
    assert wait_until(lambda: last <= world.spans.traces), "Envoy's span is there, too"
    assert cut & world.spans.told == last


def test_shadow_records_and_enforce_refuses(world: World) -> None:
    spec: dict[str, Any] = {"input": [{"pii": {"types": ["email"], "action": "deny"}}]}
    world.use(mode="shadow", **spec)
    answer = world.ask("/in", {"text": EMAIL})
    assert (answer.status, world.said()) == (200, EMAIL)
    assert world.record(answer)["shadow"]
    assert world.ask(key="").status == 401
    world.use(mode="enforce", **spec)
    assert world.ask("/in", {"text": EMAIL}).status == 403
