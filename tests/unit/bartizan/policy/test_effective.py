"""A ModelPolicy with the MeshPolicies that touch it: who touches, what is complete, and whose mistake it is."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from bartizan.errors import PolicyInvalid
from bartizan.policy.effective import at_endpoint, effective_policy, ties, touching_meshes
from bartizan.policy.validate import Mesh, Written, read_mesh, read_policy

CHAT: dict[str, Any] = {
    "apiVersion": "bartizan.dev/v1alpha1",
    "kind": "ModelPolicy",
    "metadata": {"name": "chat", "namespace": "prod"},
    "spec": {
        "selector": {"matchLabels": {"app": "chat"}},
        "listener": {"tls": "none"},
        "model": {"name": "m", "protocol": "openai", "labels": {"region": "eu", "tier": "gold"}},
        "tenants": ["acme"],
        "authn": {"apiKeys": {"set": "chat"}},
    },
}
OPAQUE = {"model": {"name": "m", "protocol": "opaque"}, "routes": [{"path": "/x"}]}


def mesh(name: str = "base", selector: Any = None, priority: int = 0, **parts: Any) -> Mesh:
    spec = {"selector": selector or {}, "priority": priority, **(parts or {"defaults": {"mode": "enforce"}})}
    meta = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": name}}
    return read_mesh(Written(document={**meta, "spec": spec}))


def chat(**spec: Any) -> Written:
    document = copy.deepcopy(CHAT)
    document["spec"] |= spec
    for name in [name for name, value in spec.items() if value is None]:
        del document["spec"][name]
    return Written(document=document)


def problems(written: Written, *meshes: Mesh) -> list[tuple[str, str, str]]:
    with pytest.raises(PolicyInvalid) as refusal:
        effective_policy(written, meshes)
    return [(each.document, each.path, each.code) for each in refusal.value.problems]


@pytest.mark.parametrize(
    ("selector", "touched"),
    [
        ({}, True),
        ({"namespaces": ["dev", "prod"]}, True),
        ({"namespaces": ["dev"]}, False),
        ({"modelLabels": {"region": "eu"}}, True),
        ({"modelLabels": {"region": "us"}}, False),
        ({"modelLabels": {"region": "eu", "other": "x"}}, False),
        ({"protocols": ["openai"]}, True),
        ({"protocols": ["opaque"]}, False),
        ({"namespaces": ["prod"], "protocols": ["opaque"]}, False),
    ],
)
def test_a_mesh_policy_touches_whom_all_its_conditions_fit(selector: Any, touched: bool) -> None:
    assert bool(touching_meshes(CHAT, [mesh(selector=selector)])) is touched
    mode = effective_policy(chat(), [mesh(selector=selector, overrides={"mode": "shadow"})]).policy.spec.mode
    assert mode == ("shadow" if touched else "enforce")


@pytest.mark.parametrize(
    ("one", "other", "tied"),
    [
        ({}, {}, True),
        ({"namespaces": ["a", "b"]}, {"namespaces": ["b"]}, True),
        ({"namespaces": ["a"]}, {"namespaces": ["b"]}, False),
        ({"namespaces": ["a"]}, {"protocols": ["openai"]}, True),
        ({"protocols": ["mcp"]}, {"protocols": ["openai"]}, False),
        ({"modelLabels": {"x": "1"}}, {"modelLabels": {"x": "2"}}, False),
        ({"modelLabels": {"x": "1"}}, {"modelLabels": {"y": "2"}}, True),
    ],
)
def test_two_of_one_priority_that_could_meet_are_a_tie(one: Any, other: Any, tied: bool) -> None:
    first, second = mesh("a", one), mesh("b", other)
    assert bool(ties(first, [second])) is tied is bool(ties(second, [first]))
    assert not ties(first, [mesh("b", other, priority=1)])
    assert not ties(first, [mesh("a", other)])


def test_the_higher_priority_wins_for_defaults_and_overrides() -> None:
    parts = [{part: {"mode": mode, "tenants": [mode]}} for part, mode in (("defaults", "shadow"), ("overrides", "shadow"))]  # fmt: skip
    for part in parts:
        ((name, values),) = part.items()
        weak = mesh("a", priority=1, **{name: values})
        strong = mesh("b", priority=2, **{name: {"mode": "enforce"}})
        assert effective_policy(chat(), [weak, strong]).policy.spec.mode == "enforce"


def test_defaults_may_complete_a_policy_that_is_not_complete_alone() -> None:
    bare = chat(listener=None, tenants=None, authn=None)
    assert problems(bare) == [("", f"spec.{name}", "missing_field") for name in ("authn", "listener", "tenants")]  # fmt: skip
    whole = {"listener": {"tls": "none"}, "tenants": ["org"], "authn": {"apiKeys": {"set": "org"}}}
    spec = effective_policy(bare, [mesh(defaults=whole)]).policy.spec
    assert (spec.tenants, spec.listener.tls) == (("org",), "none")
    assert problems(bare, mesh(defaults={"tenants": ["org"]})) == [
        ("", "spec.authn", "missing_field"),
        ("", "spec.listener", "missing_field"),
    ]


def test_a_mistake_is_told_with_the_document_and_path_where_it_was_written() -> None:
    checks = mesh(defaults={"output": [{"probabilities": {}}]}, overrides={"input": [{"pii": {}}]})
    assert problems(chat(**OPAQUE), checks) == [
        ("MeshPolicy base", "spec.defaults.output[0].probabilities", "not_applicable"),
        ("MeshPolicy base", "spec.overrides.input[0].pii", "not_applicable"),
    ]
    own = chat(input=[{"secrets": {}}, {"canary": {}}])
    assert problems(own, mesh(overrides={"input": [{"pii": {}}]})) == [("", "spec.input[1].canary", "unknown_field")]  # fmt: skip


def test_what_an_override_hides_is_wrong_all_the_same() -> None:
    assert problems(chat(mode="shadw"), mesh(overrides={"mode": "enforce"})) == [
        ("", "spec.mode", "invalid_value")
    ]


def test_whoever_changes_a_mesh_policy_is_told_at_which_endpoint_it_fails() -> None:
    bad = mesh(overrides={"input": [{"pii": {}}]})
    with pytest.raises(PolicyInvalid) as refusal:
        effective_policy(chat(**OPAQUE, tenants=None), [bad])
    found = at_endpoint(refusal.value, "prod/chat")
    assert [(each.document, each.path) for each in found] == [
        ("ModelPolicy prod/chat", "spec.tenants"),
        ("MeshPolicy base", "spec.overrides.input[0].pii"),
    ]
    assert found[1].message.endswith("(at endpoint prod/chat)")


def test_a_deny_rule_of_an_override_leaves_the_allow_rule_of_its_name() -> None:
    own = chat(authz=[{"name": "staff", "allow": 'identity.tenant == "acme"'}])
    made = effective_policy(own, [mesh(overrides={"authz": [{"name": "staff", "deny": "true"}]})])
    assert [(rule.name, rule.allow is UNSET) for rule in made.policy.spec.authz] == [
        ("staff", True),
        ("staff", False),
    ]


def test_without_mesh_policies_the_document_is_as_it_was_written() -> None:
    made = effective_policy(chat())
    assert made.document == CHAT
    assert made.meshes == ()


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"selector": {}}, "spec", "missing_field"),
    ({"selector": {}, "defaults": {}}, "spec", "missing_field"),
    ({"defaults": {"mode": "shadow"}}, "spec.selector", "missing_field"),
    ({"selector": {}, "defaults": {"routes": []}}, "spec.defaults.routes", "unknown_field"),
    ({"selector": {}, "overrides": {"model": {"port": 1}}}, "spec.overrides.model.port", "unknown_field"),
    ({"selector": {}, "overrides": {"input": []}}, "spec.overrides.input", "invalid_value"),
    ({"selector": {}, "overrides": {"limits": {"tokens": []}}}, "spec.overrides.limits.tokens", "unsupported"),
    ({"selector": {}, "defaults": {"output": [{"image": {}}]}}, "spec.defaults.output[0].image", "unsupported"),
    ({"selector": {}, "defaults": {"input": [{"canary": {}}]}}, "spec.defaults.input[0].canary", "unknown_field"),
    ({"selector": {}, "defaults": {"authn": {}}}, "spec.defaults.authn", "missing_field"),
    ({"selector": {}, "overrides": {"authz": [{"name": "a", "deny": "nope"}]}}, "spec.overrides.authz[0].deny", "invalid_expression"),
    ({"selector": {"namespaces": ["a", "a"]}, "overrides": {"mode": "shadow"}}, "spec.selector.namespaces[1]", "duplicate"),
    ({"selector": {"modelLabels": {"a": "b c"}}, "overrides": {"mode": "shadow"}}, "spec.selector.modelLabels.a", "invalid_value"),
    ({"selector": {}, "priority": 1001, "overrides": {"mode": "shadow"}}, "spec.priority", "invalid_value"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "path", "code"), CASES, ids=[f"{case[1]} {case[2]}" for case in CASES])
def test_a_mesh_policy_is_refused_for_what_is_wrong_with_it_alone(
    spec: dict[str, Any], path: str, code: str
) -> None:
    document = {
        "apiVersion": "bartizan.dev/v1alpha1",
        "kind": "MeshPolicy",
        "metadata": {"name": "a"},
        "spec": spec,
    }
    with pytest.raises(PolicyInvalid) as refusal:
        read_mesh(Written(document=document))
    assert [(each.path, each.code) for each in refusal.value.problems] == [(path, code)]


def test_an_allow_rule_is_refused_with_the_reason() -> None:
    with pytest.raises(PolicyInvalid, match="deny rules only"):
        mesh(defaults={"authz": [{"name": "a", "allow": "true"}]})


def test_parts_that_fit_every_endpoint_are_not_judged_by_one_that_is_not_there() -> None:
    mesh(
        defaults={
            "listener": {"port": 8000, "tls": "none"},
            "output": [{"tools": {}}, {"probabilities": {}}],
            "authz": [{"name": "a", "deny": 'request.model == "x"'}],
        }
    )


def test_the_example_is_valid_and_touches_chat_models_only() -> None:
    text = (Path(__file__).parents[4] / "examples/mesh-policies/baseline.yaml").read_text()
    baseline = read_mesh(read_policy(text))
    made = effective_policy(chat(authn=None), [baseline]).policy.spec
    assert (made.mode, made.authn.jwt[0].issuer) == ("enforce", "https://idp.example")
    assert touching_meshes(chat(**OPAQUE).document, [baseline]) == []
