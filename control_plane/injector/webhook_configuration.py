"""Which requests the API server brings to our webhooks. Pure.

failurePolicy is Fail: while no webhook answers, pods of labelled namespaces don't start, and nothing starts unguarded.
Namespaces that are exempt are never matched, so that the cluster and Bartizan itself come up without it. `caBundle`
stands empty here and is kept by the running webhook (upkeep.py); an empty one fails closed.
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from typing import Any, Final

from control_plane.injector import names
from control_plane.injector.admission_policy import (
    CONDITIONS,
    LABELS,
    POD_RULES,
    enforced_namespaces,
    not_exempt,
)
from control_plane.injector.config import Config

MUTATING: Final = "bartizan-injector"
VALIDATING: Final = "bartizan-admission"
SERVICE: Final = "bartizan-webhook"
MUTATE_PATH: Final = "/mutate"
VALIDATE_PATH: Final = "/validate"
TIMEOUT_SECONDS: Final = 5


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
        "webhooks": [
            {
                "name": "guarded.bartizan.dev",
                **_webhook(namespace, VALIDATE_PATH),
                "rules": POD_RULES,
                "matchConditions": CONDITIONS,
                "namespaceSelector": enforced_namespaces(config),
            }
        ],
    }


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
