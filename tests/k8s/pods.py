"""Namespaces and pods for tests with a real API server; what controllers would make is made here."""

from __future__ import annotations

import copy
from typing import Any

from bartizan.errors import BartizanError
from tests.k8s.control import KubeCluster


async def make_namespace(cluster: KubeCluster, name: str, **labels: str) -> None:
    """labels: without the prefix bartizan.dev/."""
    metadata = {"name": name, "labels": {f"bartizan.dev/{key}": value for key, value in labels.items()}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for account in ("default", "sentiment"):
        cluster.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": name}}
        )


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
