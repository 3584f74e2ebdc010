"""The admission rules as a ValidatingAdmissionPolicy: the API server judges by itself what the webhook would. Pure.

So a dead webhook admits nothing unguarded in an enforced namespace, and the cluster starts without us: what is exempt
is never asked about. https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from typing import Any, Final

from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.rules import rules, variables

NAME: Final = "guarded-pods.bartizan.dev"
LABELS: Final = {"app.kubernetes.io/part-of": "bartizan"}

POD_RULES: Final[list[dict[str, Any]]] = [
    {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods", "pods/ephemeralcontainers"],
        "scope": "Namespaced",
    }
]
CONDITIONS: Final[list[dict[str, str]]] = [
    # Finalizers and labels of a pod that runs already must stay changeable, or it could not even be deleted.
    {"name": "spec-changes", "expression": "request.operation == 'CREATE' || object.spec != oldObject.spec"},
]


def admission_policy(config: Config) -> list[dict[str, Any]]:
    """The policy and its binding to enforced namespaces."""
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": NAME, "labels": dict(LABELS)},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": POD_RULES},
                "matchConditions": CONDITIONS,
                "variables": [
                    {"name": name, "expression": expression} for name, expression in variables(config).items()
                ],
                "validations": [
                    {
                        "expression": rule.expression,
                        "message": f"{rule.code}: {rule.path}: {rule.message} ({rule.hint})",
                        "reason": "Forbidden",
                    }
                    for rule in rules(config)
                ],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": NAME, "labels": dict(LABELS)},
            "spec": {
                "policyName": NAME,
                "validationActions": ["Deny"],
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
