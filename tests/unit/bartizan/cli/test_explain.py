"""`bartizan explain`: the rule that is named is the one that asked for the decision."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.api import EffectivePolicy
from bartizan.cli.causes import CAUSES
from bartizan.cli.explain import rules
from bartizan.policy.jsonschema import policy_json_schema

SPEC: dict[str, Any] = {
    "tenants": ["acme"],
    "limits": {"requests": [{"per": "key", "rate": "5/s"}]},
    "authz": [{"name": "small", "deny": "true"}, {"name": "region", "deny": "false"}],
    "input": [{"sanitize": {}}, {"pii": {"action": "deny"}}],
    "output": [{"pii": {}}],
}
PII = {"check": "pii", "kind": "email", "action": "deny"}


@pytest.mark.parametrize(
    ("record", "paths"),
    [
        ({"cause": "content_denied", "findings": [{**PII, "direction": "request"}]}, ["spec.input[1]"]),
        ({"cause": "allowed", "findings": [{**PII, "direction": "response"}]}, ["spec.output[0]"]),
        ({"cause": "allowed", "findings": [{**PII, "check": "audit", "direction": "request"}]}, []),
        ({"cause": "rate_limited"}, ["spec.limits.requests"]),
        ({"cause": "tenant_not_allowed"}, ["spec.tenants"]),
        ({"cause": "waf"}, []),
        ({"cause": "allowed"}, []),
        ({"cause": "a_newer_sidecar's"}, []),
    ],
)
def test_a_decision_is_traced_to_the_field_that_asked_for_it(
    record: dict[str, Any], paths: list[str]
) -> None:
    effective = EffectivePolicy(name="default/x", document={"spec": SPEC}, meshes=(), origins=())
    assert list(rules(record, effective)) == paths


def test_of_the_rules_of_authz_the_one_that_refused_is_named() -> None:
    effective = EffectivePolicy(name="default/x", document={"spec": SPEC}, meshes=(), origins=())
    asked = rules({"cause": "forbidden", "detail": "region"}, effective)
    assert asked == {"spec.authz": [{"name": "region", "deny": "false"}]}


def test_the_fields_of_causes_are_fields_of_the_language() -> None:
    schema = policy_json_schema()
    for cause in CAUSES.values():
        at = schema["$defs"]["ModelPolicySpec"]
        for step in cause.field.split(".") if cause.field else ():
            at = at["properties"][step]
            for choice in (at, *at.get("anyOf", ())):
                if "$ref" in choice:
                    at = schema["$defs"][choice["$ref"].rpartition("/")[2]]
