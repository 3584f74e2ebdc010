"""When the compiler leaves tokens to Envoy, by which rule, and where the parts of it stand."""

from __future__ import annotations

from typing import Any

import pytest
from cel_expr_python import cel

from bartizan.policy import names
from bartizan.policy.capabilities import NATIVE_TOKENS, SUPPORTED
from control_plane.compile.envoy.cel import syntax_tree
from control_plane.compile.explain import explain
from control_plane.compile.native import token_rule
from tests.support.compiled import bundle, filters, policy

JWT = {
    "issuer": "https://idp.example",
    "audiences": ["a", "b"],
    "claims": {"tenant": "org", "plan": "plan"},
}
OTHER = {"issuer": 'https://other.example/"x', "audiences": ["ä 😀"], "claims": {"tenant": "te\"n'ant"}}
TOKENS = {"authn": {"jwt": [JWT]}}
SECONDS = 1_767_225_600.0
GOOD_HEADER: dict[str, Any] = {"alg": "RS256", "kid": "k"}
GOOD: dict[str, Any] = {
    "iss": JWT["issuer"],
    "aud": "a",
    "sub": "jane",
    "org": "acme",
    "exp": SECONDS + 60,
}
_RULE = cel.NewEnv(variables={"metadata": cel.Type.DYN, "request": cel.Type.DYN})


def holds(rule: str, header: dict[str, Any], payload: dict[str, Any]) -> bool:
    """As Envoy reads it: only true is true, errors are not. (The binding takes no timestamp inside of a map.)"""
    data = {
        "metadata": {"filter_metadata": {names.JWT_METADATA: {"header": header, "payload": payload}}},
        "request": {"headers": {"authorization": "Bearer x"}, "time": int(SECONDS)},
    }
    try:
        return _RULE.compile(rule).eval(data=data).value() is True
    except RuntimeError:
        return False


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (TOKENS, ""),
        ({}, "no tokens"),
        ({"authn": {"jwt": [JWT], "apiKeys": {"set": "m"}}}, "by hash"),
        ({**TOKENS, "limits": {"requests": [{"per": "sidecar", "rate": "9/s"}]}}, "authenticated callers"),
        ({**TOKENS, "authz": [{"name": "r", "deny": 'identity.plan == "x"'}]}, "CEL"),
        ({**TOKENS, "authz": [{"name": "r", "deny": "request.stream"}]}, "CEL"),
        ({**TOKENS, "input": [{"check": "secrets"}]}, "bodies"),
        ({**TOKENS, "output": [{"check": "pii"}]}, "bodies"),
        ({**TOKENS, "model": {"name": "m", "protocol": "json_fields", "engine": "vllm"}}, "bodies"),
        ({**TOKENS, "mode": "shadow"}, "shadow"),
    ],
)
def test_tokens_are_left_to_envoy_only_where_nothing_else_needs_the_guard(
    spec: dict[str, Any], reason: str
) -> None:
    native = not reason
    compiled = bundle(policy(**spec))
    chain = filters(compiled)
    if native:
        assert chain == [
            "rbac",
            "jwt_authn",
            "bartizan.native_token",
            "ext_authz",
            "buffer",
            "bartizan.strip_credentials",
            "custom_response",
            "router",
        ]
    assert ("jwt_authn" in chain) is bool(compiled.envoy.extensions) is native
    assert (NATIVE_TOKENS in compiled.requires) is native
    assert set(compiled.requires) <= SUPPORTED
    assert ("filter_enabled_metadata" in str(compiled.envoy.listeners)) is native
    lines = "\n".join(explain(policy(**spec)))
    assert ("no guard call" in lines) is native
    if "jwt" in str(spec) and not native:
        assert reason in next(line for line in lines.splitlines() if line.startswith("authn.jwt"))


def test_the_rule_stands_on_served_routes_alone_and_never_in_the_listener() -> None:
    before, after = bundle(policy(**TOKENS)), bundle(policy(**TOKENS, tenants=["globex"]), revision=2)
    assert before.envoy.listeners == after.envoy.listeners
    assert before.envoy.extensions == after.envoy.extensions
    assert before.envoy.routes != after.envoy.routes
    for route in before.envoy.routes[0]["virtual_hosts"][0]["routes"]:
        configured = route["typed_per_filter_config"]["bartizan.native_token"]
        assert ("shadow_rules" in configured.get("rbac", {})) is ("route" in route)
        assert configured.get("disabled", False) is ("route" not in route)


def test_no_key_travels_in_the_bundle() -> None:
    (extension,) = bundle(policy(**TOKENS)).envoy.extensions
    assert "jwks" not in str(extension)


@pytest.mark.parametrize("authn", [[JWT], [OTHER], [JWT, OTHER]])
def test_the_rule_is_an_expression_whatever_claims_are_called(authn: list[dict[str, Any]]) -> None:
    assert syntax_tree(token_rule(policy(authn={"jwt": authn}).spec)).HasField("call_expr")


BAD_HEADERS: tuple[dict[str, Any], ...] = (
    {"alg": "RS384"}, {"alg": "none"}, {"alg": 1}, {"kid": ""}, {"kid": 1}, {"kid": None}, {"crit": []},
    {"b64": False}, {"typ": "dpop+jwt"}, {"typ": 1}, {"typ": None}, {"typ": "xjwt"},
)  # fmt: skip
BAD_CLAIMS: tuple[dict[str, Any], ...] = (
    {"iss": "https://idp.example/"}, {"aud": "c"}, {"aud": ["c"]}, {"aud": {"a": 1}}, {"aud": None}, {"aud": "A"},
    {"sub": ""}, {"sub": 1}, {"sub": None}, {"org": "evil"}, {"org": ["acme"]}, {"org": None}, {"plan": 1},
    {"plan": None}, {"exp": SECONDS - 60}, {"exp": "9"}, {"exp": 1e13}, {"exp": None}, {"nbf": SECONDS + 61},
    {"iat": SECONDS + 61}, {"iat": "now"}, {"nbf": None},
)  # fmt: skip


@pytest.mark.parametrize("change", BAD_HEADERS, ids=str)
def test_a_header_that_is_not_plainly_good_is_the_guards(change: dict[str, Any]) -> None:
    rule = token_rule(policy(**TOKENS).spec)
    assert holds(rule, GOOD_HEADER, GOOD)
    assert not holds(rule, {**GOOD_HEADER, **change}, GOOD)


@pytest.mark.parametrize("change", BAD_CLAIMS, ids=str)
def test_claims_that_are_not_plainly_good_are_the_guards(change: dict[str, Any]) -> None:
    assert not holds(token_rule(policy(**TOKENS).spec), GOOD_HEADER, {**GOOD, **change})


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "org", "exp"])
def test_a_missing_claim_is_the_guards(missing: str) -> None:
    claims = {name: value for name, value in GOOD.items() if name != missing}
    assert not holds(token_rule(policy(**TOKENS).spec), GOOD_HEADER, claims)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": ["x", "b"]},
        {"plan": "gold"},
        {"plan": ""},
        {"iat": SECONDS + 60, "nbf": SECONDS + 60},
        {"exp": SECONDS - 58},
    ],
    ids=str,
)
def test_what_the_guard_takes_as_well_is_let_in(change: dict[str, Any]) -> None:
    rule = token_rule(policy(authn={"jwt": [OTHER, JWT]}).spec)
    assert holds(rule, {**GOOD_HEADER, "typ": "JWT"}, {**GOOD, **change})


def test_of_two_entries_for_one_issuer_the_later_counts() -> None:
    rule = token_rule(policy(authn={"jwt": [{**JWT, "audiences": ["old"]}, JWT]}).spec)
    assert holds(rule, GOOD_HEADER, GOOD)
    assert not holds(rule, GOOD_HEADER, {**GOOD, "aud": "old"})
