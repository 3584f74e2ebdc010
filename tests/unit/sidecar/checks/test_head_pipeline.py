"""The header phases: their order, what shadow mode lets pass, and rules that can't be evaluated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bartizan.policy.bundle import RateLimit
from bartizan.policy.keyset import key_hash
from bartizan.policy.schema import AuthzRule
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.authn.base import Material
from sidecar.checks.authz.rules import Rule, RuleSet
from sidecar.checks.pipeline import too_late
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts, Identity, RequestHead
from sidecar.plan.load import load_plan
from tests.support.guard import KEY, OTHER_KEY, guard_plan, key_set

MATERIAL = Material(api_keys={"keys": {record.hash: record for record in key_set().keys}})
LIMITED = (RateLimit(per="key", per_second=0.001, burst=1),)


def head(key: str = KEY, **headers: str) -> RequestHead:
    return RequestHead(
        stream_id="", method="POST", path="/predict", headers={"x-api-key": key, **headers}, source_address=""
    )


def decide(plan: Any, *heads: RequestHead) -> Any:
    built = load_plan(plan, Buckets(clock=lambda: 0.0))
    return [built.head.decide(one, MATERIAL) for one in heads][-1]


def test_phases_run_in_order_and_the_first_refusal_ends_them() -> None:
    plan = guard_plan(rate_limits=LIMITED)
    stranger = decide(plan, head("bzk_" + "z" * 43))
    assert (stranger.phase, [phase for phase, _, _ in stranger.marks]) == ("authn", ["authn"])
    limited = decide(plan, head(OTHER_KEY), head(OTHER_KEY))
    assert (limited.phase, limited.decision.cause) == ("admission", Cause.RATE_LIMITED)
    foreign = decide(plan, head(OTHER_KEY))
    assert (foreign.phase, foreign.decision.cause) == ("authz", Cause.TENANT_NOT_ALLOWED)
    assert [phase for phase, _, _ in foreign.marks] == ["authn", "admission", "authz"]


def test_a_key_for_other_models_is_refused() -> None:
    record = next(record for record in key_set().keys if record.hash == key_hash(KEY))
    limited = type(record)(id="k", hash=record.hash, tenant="acme", models=("other",))
    built = load_plan(guard_plan(), Buckets(clock=lambda: 0.0))
    verdict = built.head.decide(head(), Material(api_keys={"keys": {record.hash: limited}}))
    assert verdict.decision.cause is Cause.MODEL_NOT_ALLOWED


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({}, Cause.ALLOWED),
        ({"revoked": True}, Cause.REVOKED_CREDENTIALS),
        ({"expires_at": 1.0}, Cause.EXPIRED_CREDENTIALS),
        ({"tenant": "evil"}, Cause.TENANT_NOT_ALLOWED),
        ({"models": ("other",)}, Cause.MODEL_NOT_ALLOWED),
        ({"plan": "trial"}, Cause.FORBIDDEN),
        ({"hash": key_hash(OTHER_KEY)}, Cause.INVALID_CREDENTIALS),
    ],
)
def test_a_key_that_was_let_in_is_judged_by_what_it_is_now(changed: dict[str, Any], cause: Cause) -> None:
    rule = AuthzRule(name="gold", allow='identity.plan == "gold"')
    built = load_plan(guard_plan(authz=(rule,)), Buckets(clock=lambda: 0.0))
    assert built.head.decide(head(), MATERIAL).decision.cause is Cause.ALLOWED
    (record,) = (record for record in key_set().keys if record.hash == key_hash(KEY))
    record = msgspec.structs.replace(record, **changed)
    verdict = built.head.decide(head(), Material(api_keys={"keys": {record.hash: record}}))
    assert verdict.decision.cause is cause
    identity = verdict.decision.identity
    assert (identity is None) is (cause is Cause.INVALID_CREDENTIALS), (
        "who still uses a leaked key is looked for"
    )
    assert identity is None or (identity.tenant, identity.plan) == (record.tenant, record.plan)


@pytest.mark.parametrize(
    ("rules", "detail"),
    [
        ((), None),
        ((AuthzRule(name="a", allow="true"),), None),
        ((AuthzRule(name="a", allow="false"),), "no_allow_rule"),
        ((AuthzRule(name="a", allow="false"), AuthzRule(name="b", allow='identity.plan == "gold"')), None),
        ((AuthzRule(name="a", allow="true"), AuthzRule(name="b", deny="true")), "b"),
        ((AuthzRule(name="a", deny='model.labels["none"] == ""'),), "a"),
        ((AuthzRule(name="a", allow='model.labels["none"] == ""'),), "a"),
        ((AuthzRule(name="ok", allow="true"), AuthzRule(name="a", allow='model.labels["none"] == ""')), "a"),
    ],
)
def test_no_deny_may_hold_and_one_allow_must_and_errors_refuse(rules: Any, detail: str | None) -> None:
    decision = decide(guard_plan(authz=rules), head()).decision
    assert decision.denied == (detail is not None)
    assert decision.detail == (detail or "")


def test_a_rule_that_breaks_refuses() -> None:
    def broken(*_: object) -> bool:
        raise ZeroDivisionError

    rules = RuleSet(model={}, allows=(Rule(name="r", denies=False, evaluate=broken),))
    caller = Identity(subject="s", tenant="t", method="jwt")
    assert rules.refuses(caller, head(), BodyFacts()) == "r"


def test_shadow_lets_all_but_strangers_pass_and_says_what_it_would_have_done() -> None:
    plan = guard_plan(mode="shadow", rate_limits=LIMITED)
    assert decide(plan, head("bzk_" + "z" * 43)).decision.denied
    passed = decide(plan, head(OTHER_KEY))
    assert not passed.decision.denied
    assert passed.would.cause is Cause.TENANT_NOT_ALLOWED
    assert decide(plan, head()).would is None


def test_too_late_is_a_refusal() -> None:
    verdict = too_late(decide(guard_plan(), head()))
    assert (verdict.decision.cause, verdict.decision.denied) == (Cause.DEADLINE, True)


@pytest.mark.parametrize(
    ("encoding", "denied"), [("gzip", False), ("identity", False), ("br", True), ("gzip, gzip", True)]
)
def test_only_encodings_that_are_decoded_in_front_of_the_guard_pass(encoding: str, denied: bool) -> None:
    assert decide(guard_plan(), head(**{"content-encoding": encoding})).decision.denied is denied
