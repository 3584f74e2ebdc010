"""Layers become one policy: the strongest that writes a value gives it, named things come whole, lists that are one value too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.merge import MAPPINGS, NAMED, Layer, LayerKind, Merged, merge
from bartizan.policy.schema import ModelPolicySpec

Check = dict[str, dict[str, Any]]
PII: Check = {"pii": {}}
PII_DENY: Check = {"pii": {"action": "deny"}}
SECRETS: Check = {"secrets": {}}
SANITIZE: Check = {"sanitize": {}}
ROOTS: dict[LayerKind, str] = {"override": "spec.overrides", "policy": "spec", "default": "spec.defaults"}


def merged(override: Any = None, policy: Any = None, default: Any = None) -> Merged:
    written: dict[LayerKind, Any] = {"override": override, "policy": policy or {}, "default": default}
    return merge(
        [
            Layer(document=kind, kind=kind, root=ROOTS[kind], spec=spec)
            for kind, spec in written.items()
            if spec is not None
        ]
    )


CASES: list[tuple[str, Any, Any, Any, Any]] = [
    # rule, override, policy, default, effective
    ("a default fills what is not written", None, {}, {"mode": "shadow"}, {"mode": "shadow"}),
    ("a default yields", None, {"mode": "enforce"}, {"mode": "shadow"}, {"mode": "enforce"}),
    ("an override wins", {"mode": "enforce"}, {"mode": "shadow"}, {"mode": "shadow"}, {"mode": "enforce"}),
    ("settings field by field", {"limits": {"body": {"max": "1KiB"}}}, {"limits": {"body": {"max": "2KiB", "jsonDepth": 3}}}, {"limits": {"requests": [{"per": "key", "rate": "1/s"}]}}, {"limits": {"body": {"max": "1KiB", "jsonDepth": 3}, "requests": [{"per": "key", "rate": "1/s"}]}}),
    ("checks by name, whole", {"input": [PII_DENY]}, {"input": [{"pii": {"types": ["mac"], "allow": ["abc"]}}, SECRETS]}, None, {"input": [PII_DENY, SECRETS]}),
    ("own checks leave other defaults", None, {"input": [SECRETS]}, {"input": [PII, {"secrets": {"action": "flag"}}]}, {"input": [SECRETS, PII]}),
    ("an empty list takes no defaults", None, {"input": []}, {"input": [PII]}, {"input": []}),
    ("an empty list does not stop overrides", {"input": [PII]}, {"input": []}, {"input": [SECRETS]}, {"input": [PII]}),
    ("all checks of a name go together", {"input": [PII_DENY]}, {"input": [PII, {"pii": {"types": ["ip"]}}]}, None, {"input": [PII_DENY]}),
    ("one document may name a check twice", None, {"input": [PII, {"pii": {"types": ["ip"]}}]}, None, {"input": [PII, {"pii": {"types": ["ip"]}}]}),
    ("sanitizers first where layers meet", {"input": [PII]}, {"input": [SECRETS, SANITIZE]}, None, {"input": [SANITIZE, PII, SECRETS]}),
    ("order stays where one layer speaks", None, {"input": [SECRETS, SANITIZE]}, None, {"input": [SECRETS, SANITIZE]}),
    ("deny rules by name", {"authz": [{"name": "a", "deny": "true"}]}, {"authz": [{"name": "a", "deny": "x"}, {"name": "b", "allow": "x"}]}, None, {"authz": [{"name": "a", "deny": "true"}, {"name": "b", "allow": "x"}]}),
    ("no deny rule in place of an allow rule", {"authz": [{"name": "a", "deny": "x"}]}, {"authz": [{"name": "a", "allow": "y"}]}, {"authz": [{"name": "a", "deny": "z"}]}, {"authz": [{"name": "a", "deny": "x"}, {"name": "a", "allow": "y"}]}),
    ("no allow rule in place of a default", None, {"authz": [{"name": "a", "allow": "y"}]}, {"authz": [{"name": "a", "deny": "z"}]}, {"authz": [{"name": "a", "allow": "y"}, {"name": "a", "deny": "z"}]}),
    ("rates by whom they count", {"limits": {"requests": [{"per": "key", "rate": "1/s"}]}}, {"limits": {"requests": [{"per": "key", "rate": "9/s", "burst": 99}, {"per": "tenant", "rate": "5/s"}]}}, None, {"limits": {"requests": [{"per": "key", "rate": "1/s"}, {"per": "tenant", "rate": "5/s"}]}}),
    ("ways in are one value", {"authn": {"jwt": ["corp"]}}, {"authn": {"apiKeys": {"set": "own"}}}, None, {"authn": {"jwt": ["corp"]}}),
    ("own ways in are all ways in", None, {"authn": {"apiKeys": {"set": "own"}}}, {"authn": {"jwt": ["corp"]}}, {"authn": {"apiKeys": {"set": "own"}}}),
    ("tenants are one value", None, {"tenants": ["a"]}, {"tenants": ["b"]}, {"tenants": ["a"]}),
    ("certificate and key go together", None, {"listener": {"port": 1, "tls": {"cert": "a", "key": "b"}}}, {"listener": {"tls": {"cert": "c", "key": "d"}, "address": "::"}}, {"listener": {"port": 1, "tls": {"cert": "a", "key": "b"}, "address": "::"}}),
    ("the firewall is one value", {"waf": {"crs": {}}}, {"waf": {"crs": {"mode": "detect"}}}, None, {"waf": {"crs": {}}}),
    ("garbage of a policy stays its own", None, {"limits": 5, "input": 3}, {"limits": {"body": {}}, "input": [PII]}, {"limits": 5, "input": 3}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "override", "policy", "default", "wanted"), CASES, ids=[case[0] for case in CASES]
)
def test_how_layers_merge(rule: str, override: Any, policy: Any, default: Any, wanted: Any) -> None:
    assert merged(override, policy, default).spec == wanted, rule


def test_of_two_overrides_the_first_wins_and_of_two_defaults_too() -> None:
    def layer(kind: LayerKind, name: str, **spec: Any) -> Layer:
        return Layer(document=name, kind=kind, root=ROOTS[kind], spec=spec)

    made = merge(
        [
            layer("override", "strong", mode="enforce"),
            layer("override", "weak", mode="shadow", tenants=["weak"]),
            layer("policy", "own", tenants=["own"]),
            layer("default", "strong", waf=1),
            layer("default", "weak", waf=2, failure={}),
        ]
    )
    assert made.spec == {"mode": "enforce", "tenants": ["weak"], "waf": 1, "failure": {}}


def test_every_value_knows_where_it_was_written() -> None:
    made = merged(
        {"input": [PII_DENY]}, {"input": [SECRETS, PII], "model": {"name": "m"}}, {"input": [SANITIZE]}
    )
    wanted = {
        "spec.input[1].pii.action": ("override", "spec.overrides.input[0].pii.action"),
        "spec.input[2]": ("policy", "spec.input[0]"),
        "spec.input[0]": ("default", "spec.defaults.input[0]"),
        "spec.model.name": ("policy", "spec.model.name"),
    }
    for path, (document, place) in wanted.items():
        origin = made.origin_of(path)
        assert origin is not None
        assert (origin.document, origin.path) == (document, place)
    for several in ("spec.input", "spec.model", "spec.authn", "metadata.name"):
        assert made.origin_of(several) is None


def test_what_merges_are_fields_of_the_language() -> None:
    known = {f"spec.{name}" for name in ModelPolicySpec.__struct_encode_fields__}
    assert {".".join(path.split(".")[:2]) for path in (*MAPPINGS, *NAMED)} - {"spec"} <= known


_CHECK = st.sampled_from([PII, PII_DENY, SECRETS, SANITIZE, {"markup": {}}, {"pii": {"types": ["ip"]}}])
_CHECKS = st.lists(_CHECK, min_size=1, max_size=4)
_PER = st.sampled_from(["key", "tenant", "sidecar"])
_RATES = st.dictionaries(_PER, st.sampled_from(["1/s", "2/s"]), min_size=1).map(
    lambda rates: [{"per": per, "rate": rate} for per, rate in rates.items()]
)
_SPEC = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["enforce", "shadow"]),
        "tenants": st.lists(st.sampled_from(["a", "b"]), min_size=1),
        "authn": st.sampled_from([{"apiKeys": {"set": "a"}}, {"jwt": [1]}]),
        "input": _CHECKS,
        "output": _CHECKS,
        "limits": st.fixed_dictionaries(
            {}, optional={"requests": _RATES, "body": st.sampled_from([{"max": "1KiB"}, {"jsonDepth": 3}])}
        ),
    },
)


@given(_SPEC, _SPEC, _SPEC)
def test_merging_what_was_merged_changes_nothing(override: Any, policy: Any, default: Any) -> None:
    once = merged(override, policy, default).spec
    assert merged(override, once, default).spec == once


@given(_SPEC, _SPEC, _SPEC)
def test_everything_that_an_override_says_holds_whatever_the_policy_says(
    override: Any, policy: Any, default: Any
) -> None:
    made = merged(override, policy, default)
    for path, value in override.items():
        match path:
            case "input" | "output":
                names = {next(iter(check)) for check in value}
                assert sorted(map(str, value)) == sorted(
                    str(check) for check in made.spec[path] if next(iter(check)) in names
                )
            case "limits":
                for rate in value.get("requests", ()):
                    assert rate in made.spec["limits"]["requests"]
                    assert [each["per"] for each in made.spec["limits"]["requests"]].count(rate["per"]) == 1
                assert value.get("body", {}).items() <= made.spec["limits"].get("body", {}).items()
            case _:
                assert made.spec[path] == value


@given(_SPEC, _SPEC)
def test_a_default_takes_nothing_from_a_policy(policy: Any, default: Any) -> None:
    made = merged(None, policy, default).spec
    for name in ("mode", "tenants", "authn"):
        if name in policy:
            assert made[name] == policy[name]
    for name in ("input", "output"):
        assert all(check in made.get(name, []) for check in policy.get(name, []))
