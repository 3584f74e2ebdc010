"""An object of the cluster, a pod's token, a real sidecar: the status says ENFORCED, and says so no more without the pod.

The API server is a small one over real HTTP; tests/k8s plays the same with kube-apiserver.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bartizan.client import Client
from bartizan.local.processes import free_port
from bartizan.local.stack import Stack
from tests.support.api_server_stand import (
    ApiServerStand,
    api_server_stand,
    pod_path,
    policy_path,
    write_kubeconfig,
)
from tests.support.orphans import end_orphans

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("kubernetes")]
TOKEN = "eyJh.eyJz.c2ln"


class Way:
    def __init__(self, cluster: ApiServerStand, stack: Stack) -> None:
        self.cluster, self.stack = cluster, stack

    def spec(self, **more: Any) -> dict[str, Any]:
        return {
            "selector": {"matchLabels": {"app": "chat"}},
            "listener": {"tls": "none", "address": "127.0.0.1", "port": free_port()},
            "model": {"name": "m", "protocol": "opaque", "port": free_port()},
            "routes": [{"path": "/x"}],
            "tenants": ["acme"],
            "authn": {"apiKeys": {"set": "chat"}},
            **more,
        }

    def pod(self, name: str, uid: str) -> None:
        metadata = {"name": name, "namespace": "prod", "uid": uid, "labels": {"app": "chat"}}
        spec, status = {"serviceAccountName": "chat"}, {"phase": "Running"}
        self.cluster.put(pod_path(name, "prod"), {"metadata": metadata, "spec": spec, "status": status})
        extra = {
            "authentication.kubernetes.io/pod-name": [name],
            "authentication.kubernetes.io/pod-uid": [uid],
        }
        user = {"username": "system:serviceaccount:prod:chat", "extra": extra}
        self.cluster.reviews[TOKEN] = {"authenticated": True, "audiences": ["bartizan"], "user": user}

    async def until(self, said: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(60):
                while True:
                    status = self.cluster.status("chat", "prod")
                    if status and said(status):
                        return status
                    await asyncio.sleep(0.05)
        except TimeoutError:
            logs = [child.tail() for child in (self.stack.control_plane, self.stack.sidecar) if child]
            raise AssertionError(f"{status}\n" + "\n".join(logs)) from None


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    async with api_server_stand() as cluster:
        kubeconfig = write_kubeconfig(folder / "config", f"http://127.0.0.1:{cluster.port}")
        stack = Stack(
            state=folder / "s",
            settings={
                "BARTIZAN_DRAIN_SECONDS": "1",
                "BARTIZAN_CP_KUBERNETES": str(kubeconfig),
                "BARTIZAN_CP_ROTATION_LEASE_SECONDS": "3",
                "BARTIZAN_JOIN_TOKEN_FILE": "",
                "BARTIZAN_KUBERNETES_TOKEN_FILE": str(folder / "token"),
                "BARTIZAN_TRUST_FILE": str(folder / "trust.json"),
            },
        )
        try:
            await stack.start_openbao()
            await stack.start_control_plane()
            (folder / "token").write_text(TOKEN + "\n")
            async with Client(stack.api_url, ca_file=stack.ca_file) as client:
                (folder / "trust.json").write_bytes(await client.trust())
            async with stack.client() as client:
                await client.create_key_set("chat")
            yield Way(cluster, stack)
        finally:
            await stack.stop()
            end_orphans(folder)
            shutil.rmtree(folder, ignore_errors=True)


async def test_from_object_and_token_to_a_proven_status_and_back(way: Way) -> None:
    way.cluster.policy("chat", way.spec(), "prod")
    await way.until(lambda status: status["summary"] == "NO SIDECAR")
    way.pod("chat-0", "u1")
    await way.stack.start_sidecar(join=False)
    status = await way.until(lambda status: status["summary"] == "ENFORCED 1/1")
    assert status["revision"] == 1
    async with way.stack.client() as client:
        (instance,) = await client.instances()
        (policy,) = await client.policies()
    assert instance.spiffe_id == "spiffe://bartizan.local/ns/prod/sa/chat"
    assert instance.labels == {"app": "chat"}
    assert policy.origin == "kubernetes"
    # the certificate that the agent can't have: its own listener's refusal comes back as the object's reason
    tls = {"cert": "file:tls.crt", "key": "file:tls.key"}
    listener = {**way.spec()["listener"], "tls": tls}
    way.cluster.policy("chat", way.spec(listener=listener), "prod")
    status = await way.until(
        lambda status: bool(status.get("missing")) and status["missing"][0]["state"] == "refused"
    )
    assert (status["summary"], status["missing"][0]["path"]) == ("PENDING 0/1", "spec.listener.tls.cert")
    # its pod goes: nothing is left that could lack anything
    assert way.stack.sidecar is not None
    await way.stack.sidecar.stop()
    way.cluster.delete(pod_path("chat-0", "prod"))
    await way.until(lambda status: status["summary"] == "NO SIDECAR")
    way.cluster.delete(policy_path("chat", "prod"))
    async with way.stack.client() as client, asyncio.timeout(60):
        while await client.policies():
            await asyncio.sleep(0.05)
    log = way.stack.control_plane.log.read_text() if way.stack.control_plane else ""
    assert TOKEN not in log
    assert any(
        json.loads(line).get("event") == "reconciler_leads" for line in log.splitlines() if line[:1] == "{"
    )
