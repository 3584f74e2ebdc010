"""The control plane as a process against the real API server, with the rights that deploy/k8s gives it and no more."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bartizan.client import Client
from bartizan.errors import NotFound
from bartizan.local.stack import Stack
from tests.k8s.control import KUBECTL, ROOT, KubeCluster
from tests.support.orphans import end_orphans

SYSTEM = "bartizan-system"
POLICIES = "/apis/bartizan.dev/v1alpha1/namespaces/{}/modelpolicies"


@dataclass
class KubeStand:
    """`stack` is OpenBao and the control plane; objects are written by the cluster's admin."""

    cluster: KubeCluster
    stack: Stack
    folder: Path

    async def put(self, document: dict[str, Any]) -> None:
        """As soon as the API server trusts whatever webhook it has to ask."""
        arguments = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        async with asyncio.timeout(60):
            while True:
                done = await asyncio.to_thread(self.cluster.kubectl, *arguments, manifest=document)
                if "failed calling webhook" not in done.stderr:
                    break
                await asyncio.sleep(0.2)
        assert done.returncode == 0, done.stderr

    async def status(self, namespace: str, name: str) -> dict[str, Any]:
        try:
            found = await self.cluster.server.get(f"{POLICIES.format(namespace)}/{name}")
        except NotFound:
            return {}
        status: dict[str, Any] = found.get("status", {})
        return status

    async def until(
        self, namespace: str, name: str, said: Callable[[dict[str, Any]], bool], seconds: float = 60
    ) -> dict[str, Any]:
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    status = await self.status(namespace, name)
                    if status and said(status):
                        return status
                    await asyncio.sleep(0.1)
        except TimeoutError:
            tail = self.stack.control_plane.tail(30) if self.stack.control_plane else ""
            sidecar = self.stack.sidecar.tail(30) if self.stack.sidecar else ""
            raise AssertionError(f"{status}\n{tail}\n{sidecar}") from None

    async def trust(self) -> bytes:
        async with Client(self.stack.api_url, ca_file=self.stack.ca_file) as client:
            return await client.trust()


def built(overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay, by the real kubectl."""
    done = subprocess.run(
        [KUBECTL, "kustomize", ROOT / "deploy/k8s/overlays" / overlay],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(yaml.safe_load_all(done.stdout))


@asynccontextmanager
async def kube_stand(cluster: KubeCluster, **settings: str) -> AsyncIterator[KubeStand]:
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    for each in built("dev"):
        if each["kind"] in {
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
        }:
            await asyncio.to_thread(cluster.apply, each)
    token = await cluster.token(SYSTEM, "bartizan", audiences=[])
    stack = Stack(
        state=folder / "s",
        settings={
            "BARTIZAN_DRAIN_SECONDS": "1",
            "BARTIZAN_CP_KUBERNETES": str(cluster.kubeconfig_of("bartizan", token)),
            "BARTIZAN_CP_KUBERNETES_NAMESPACE": SYSTEM,
            "BARTIZAN_CP_ROTATION_LEASE_SECONDS": "3",
            **settings,
        },
    )
    try:
        await stack.start_openbao()
        await stack.start_control_plane()
        yield KubeStand(cluster, stack, folder)
    finally:
        await stack.stop()
        end_orphans(folder)
        shutil.rmtree(folder, ignore_errors=True)


async def namespace(cluster: KubeCluster, name: str, account: str, **labels: str) -> None:
    """A namespace with a service account, and admission that knows of both."""
    metadata = {"name": name, "labels": labels}
    await asyncio.to_thread(cluster.apply, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for each in {account, "default"}:
        metadata = {"name": each, "namespace": name}
        await asyncio.to_thread(
            cluster.apply, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        )
