"""The admission rules as ValidatingAdmissionPolicies: the API server judges by itself what the webhook would. Pure.

So a dead webhook admits nothing unguarded in an enforced namespace, and the cluster starts without us: what is exempt
is never asked about. https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.connections import (
    RESOURCES,
    connection_variables,
    refused_connections,
    watched_connections,
)
from control_plane.injector.policy_rules import POLICY_RULES
from control_plane.injector.rule import Rule
from control_plane.injector.rules import rules, variables
from control_plane.kubernetes.objects import GROUP, PLURAL, VERSION

NAME: Final = "guarded-pods.bartizan.dev"
CONNECTIONS: Final = "guarded-connections.bartizan.dev"
WATCHED: Final = "watched-connections.bartizan.dev"
POLICIES: Final = "guarded-policies.bartizan.dev"
LABELS: Final = {"app.kubernetes.io/part-of": "bartizan"}

Objects = list[dict[str, Any]]
POD_RULES: Final[Objects] = [
    {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods", "pods/ephemeralcontainers"],
        "scope": "Namespaced",
    }
]
CONNECT_RULES: Final[Objects] = [
    {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CONNECT"],
        "resources": list(RESOURCES),
        "scope": "Namespaced",
    }
]
CONDITIONS: Final[list[dict[str, str]]] = [
    # Finalizers and labels of what is there already must stay changeable, or it could not even be deleted.
    {"name": "spec-changes", "expression": "request.operation == 'CREATE' || object.spec != oldObject.spec"},
]


def policy_operations(*operations: str) -> Objects:
    """ModelPolicy objects, not their status."""
    return [
        {
            "apiGroups": [GROUP],
            "apiVersions": [VERSION],
            "operations": list(operations),
            "resources": [PLURAL],
            "scope": "Namespaced",
        }
    ]


def admission_policy(config: Config) -> Objects:
    """The policies and their bindings to enforced namespaces."""
    named = connection_variables(config)
    made = [
        *_policy(NAME, POD_RULES, rules(config), config, variables(config), conditions=CONDITIONS),
        *_policy(CONNECTIONS, CONNECT_RULES, refused_connections(config), config, named),
    ]
    if watched := watched_connections(config):
        made += _policy(WATCHED, CONNECT_RULES, watched, config, named, actions=("Warn", "Audit"))
    if config.require_policy:
        changes = policy_operations("CREATE", "UPDATE")
        made += _policy(POLICIES, changes, POLICY_RULES, config, {}, conditions=CONDITIONS)
    return made


def _policy(
    name: str,
    resources: Objects,
    judged: Sequence[Rule],
    config: Config,
    named: Mapping[str, str],
    *,
    conditions: Sequence[dict[str, str]] = (),
    actions: Sequence[str] = ("Deny",),
) -> Objects:
    spec: dict[str, Any] = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": resources}}
    if conditions:
        spec["matchConditions"] = list(conditions)
    if named:
        spec["variables"] = [{"name": each, "expression": expression} for each, expression in named.items()]
    spec["validations"] = [
        {
            "expression": rule.expression,
            "message": f"{rule.code}: {rule.path}: {rule.message} ({rule.hint})",
            "reason": "Forbidden",
        }
        for rule in judged
    ]
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name, "labels": dict(LABELS)},
            "spec": spec,
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name, "labels": dict(LABELS)},
            "spec": {
                "policyName": name,
                "validationActions": list(actions),
                "matchResources": {"namespaceSelector": enforced_namespaces(config)},
            },
        },
    ]


def enforced_namespaces(config: Config) -> dict[str, Any]:
    """Labelled ones, but never the cluster's own and ours: a label there must not stop the cluster's start."""
    return {"matchLabels": {names.ENFORCE: "true"}, "matchExpressions": [not_exempt(config)]}


def not_exempt(config: Config) -> dict[str, Any]:
    """By the label that the API server itself keeps on every namespace."""
    return {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": list(config.exempt_namespaces),
    }
