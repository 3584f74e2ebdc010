"""Which requests the API server brings to our webhooks. Pure.

failurePolicy is Fail: while no webhook answers, pods of labelled namespaces don't start, and nothing starts unguarded.
Where only a warning could come of it (deletion of a policy) it is Ignore.
Namespaces that are exempt are never matched, so that the cluster and Bartizan itself come up without it. `caBundle`
stands empty here and is kept by the running webhook (upkeep.py); an empty one fails closed.
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from typing import Any, Final

from control_plane.injector import names
from control_plane.injector.admission_policy import (
    CONDITIONS,
    CONNECT_RULES,
    LABELS,
    POD_RULES,
    enforced_namespaces,
    not_exempt,
    policy_operations,
)
from control_plane.injector.config import Config
from control_plane.injector.connections import no_break_glass

MUTATING: Final = "bartizan-injector"
VALIDATING: Final = "bartizan-admission"
SERVICE: Final = "bartizan-webhook"
MUTATE_PATH: Final = "/mutate"
VALIDATE_PATH: Final = "/validate"
TIMEOUT_SECONDS: Final = 5
_CLUSTER: Final = "system:serviceaccount:kube-system:"
_NOT_BY_CLUSTER: Final = f"!(request.userInfo.username in ['{_CLUSTER}namespace-controller', '{_CLUSTER}generic-garbage-collector'])"


def webhook_hosts(namespace: str) -> tuple[str, ...]:
    """The names under which the API server knows our Service."""
    return (f"{SERVICE}.{namespace}.svc", f"{SERVICE}.{namespace}")


def webhook_configurations(config: Config, namespace: str) -> list[dict[str, Any]]:
    """`namespace` holds our Service bartizan-webhook (port 443)."""
    return [_mutating(config, namespace), _validating(config, namespace)]


def _mutating(config: Config, namespace: str) -> dict[str, Any]:
    create = [{**POD_RULES[0], "operations": ["CREATE"], "resources": ["pods"]}]
    common = {"rules": create, "reinvocationPolicy": "Never"}
    not_out = {"key": names.INJECT, "operator": "NotIn", "values": ["false"]}
    not_enabled = {"key": names.INJECTION, "operator": "NotIn", "values": ["enabled"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": MUTATING, "labels": dict(LABELS)},
        "webhooks": [
            {
                "name": "namespace.inject.bartizan.dev",
                **_webhook(namespace, MUTATE_PATH),
                **common,
                "namespaceSelector": {
                    "matchLabels": {names.INJECTION: "enabled"},
                    "matchExpressions": [not_exempt(config)],
                },
                "objectSelector": {"matchExpressions": [not_out]},
            },
            {
                "name": "pod.inject.bartizan.dev",
                **_webhook(namespace, MUTATE_PATH),
                **common,
                "namespaceSelector": {"matchExpressions": [not_enabled, not_exempt(config)]},
                "objectSelector": {"matchLabels": {names.INJECT: "true"}},
            },
        ],
    }


def _validating(config: Config, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": VALIDATING, "labels": dict(LABELS)},
        "webhooks": [_validated(each, config, namespace) for each in _judged(config)],
    }


def _judged(config: Config) -> list[dict[str, Any]]:
    """What is judged in enforced namespaces, each under a name of its own."""
    connections: dict[str, Any] = {"name": "connections.bartizan.dev", "rules": CONNECT_RULES}
    if config.connections.break_glass_groups:
        condition = {"name": "not-break-glass", "expression": no_break_glass(config)}
        connections["matchConditions"] = [condition]
    made = [
        {"name": "guarded.bartizan.dev", "rules": POD_RULES, "matchConditions": CONDITIONS},
        connections,
    ]
    if config.require_policy:
        gone = {
            "name": "policies-in-use.bartizan.dev",
            "rules": policy_operations("DELETE"),
            # A namespace that is deleted takes its policies with it, whatever we say.
            "matchConditions": [{"name": "not-with-its-namespace", "expression": _NOT_BY_CLUSTER}],
        }
        if config.pods_without_policy == "warn":
            gone["failurePolicy"] = "Ignore"  # without a policy sidecars refuse everything: nothing opens
        changed = policy_operations("CREATE", "UPDATE")
        made += [{"name": "policies.bartizan.dev", "rules": changed, "matchConditions": CONDITIONS}, gone]
    return made


def _validated(judged: dict[str, Any], config: Config, namespace: str) -> dict[str, Any]:
    common = _webhook(namespace, VALIDATE_PATH)
    return {**common, **judged, "namespaceSelector": enforced_namespaces(config)}


def _webhook(namespace: str, path: str) -> dict[str, Any]:
    return {
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": {"name": SERVICE, "namespace": namespace, "path": path, "port": 443},
        },
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_SECONDS,
    }
