"""Namespaces and pods for tests with a real API server; what controllers would make is made here."""

from __future__ import annotations

import copy
from typing import Any

from bartizan.errors import BartizanError
from control_plane.injector.admission_policy import CONNECTIONS, NAME, POLICIES, WATCHED
from control_plane.injector.webhook_configuration import MUTATING, VALIDATING
from tests.k8s.control import KubeCluster


async def make_namespace(cluster: KubeCluster, name: str, **labels: str) -> None:
    """labels: without the prefix bartizan.dev/."""
    metadata = {"name": name, "labels": {f"bartizan.dev/{key}": value for key, value in labels.items()}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for account in ("default", "sentiment"):
        cluster.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": name}}
        )


def forget_admission(cluster: KubeCluster) -> None:
    """Everything that admission_policy and webhook_configurations make goes."""
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", kind, NAME, CONNECTIONS, WATCHED, POLICIES, "--ignore-not-found")
    cluster.kubectl("delete", "mutatingwebhookconfiguration", MUTATING, "--ignore-not-found")
    cluster.kubectl("delete", "validatingwebhookconfiguration", VALIDATING, "--ignore-not-found")


async def answer(cluster: KubeCluster, pod: dict[str, Any], namespace: str) -> str:
    """Why the API server does not take the pod; "" when it would."""
    made = copy.deepcopy(pod)
    made["metadata"].pop("ownerReferences", None)
    made["metadata"]["namespace"] = namespace
    try:
        await cluster.server.post(f"/api/v1/namespaces/{namespace}/pods", made, dryRun="All")
    except BartizanError as error:
        return str(error)
    return ""
