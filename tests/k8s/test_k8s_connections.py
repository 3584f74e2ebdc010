"""Policies and connections into pods, judged by the API server itself while no webhook runs."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml

from bartizan.errors import BartizanError, DependencyRefused
from control_plane.injector import names
from control_plane.injector.admission_policy import admission_policy
from control_plane.injector.config import Connections
from control_plane.kubernetes.api_server import ApiServer, connect, decoded
from tests.k8s.control import KubeCluster
from tests.k8s.pods import forget_admission, make_namespace
from tests.k8s.test_k8s_webhook import POLICY
from tests.support.broken_pods import injected
from tests.support.pod_cases import case_config

pytestmark = pytest.mark.asyncio(loop_scope="session")
GROUP = "on-call"
CONFIG = msgspec.structs.replace(
    case_config("plain_one_port"), connections=Connections(break_glass_groups=(GROUP,))
)
SPACE = "connected"
POD = f"/api/v1/namespaces/{SPACE}/pods/chat-0"
OBJECTS = f"/apis/bartizan.dev/v1alpha1/namespaces/{SPACE}/modelpolicies"
NO_KUBELET = "does not have a host assigned"
"""What the API server says when nothing but the missing node stands in the way."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(cluster: KubeCluster) -> AsyncIterator[KubeCluster]:
    await make_namespace(cluster, SPACE, enforce="true")
    cluster.apply(yaml.safe_dump_all(admission_policy(CONFIG)))
    pod = injected()
    pod["metadata"].update(name="chat-0", namespace=SPACE)
    await cluster.server.post(f"/api/v1/namespaces/{SPACE}/pods", pod)
    async with asyncio.timeout(60):
        while "port_forward" not in await connecting(cluster.server, "portforward", ports="8000"):
            await asyncio.sleep(0.2)
        while not await weak(cluster.server):  # another policy, which is compiled when it is
            await asyncio.sleep(0.2)
    yield cluster
    forget_admission(cluster)
    cluster.kubectl("delete", "pods", "--all", "-n", SPACE, "--force", "--grace-period=0")


async def connecting(server: ApiServer, what: str, **query: str) -> str:
    """Why it does not become a connection: nothing here ever does."""
    with pytest.raises(BartizanError) as refused:
        await server.post(f"{POD}/{what}", {}, **query)
    return str(refused.value)


async def weak(server: ApiServer) -> str:
    """Why a policy without limits is not taken; "" when it would."""
    try:
        await server.post(OBJECTS, policy(limits={}), dryRun="All")
    except DependencyRefused as error:
        return str(error)
    return ""


async def test_ports_are_not_forwarded_and_nobody_enters_the_sidecar(guarded: KubeCluster) -> None:
    shell = {"command": "id", "stdout": "true"}
    assert "port_forward" in await connecting(guarded.server, "portforward", ports="8000")
    for what in ("exec", "attach"):
        said = await connecting(guarded.server, what, container=names.SIDECAR, **shell)
        assert "sidecar_entered" in said
        assert NO_KUBELET in await connecting(guarded.server, what, container="model", **shell)


async def test_break_glass_groups_are_let_in(guarded: KubeCluster, tmp_path: Path) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    guarded.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": GROUP},
            "roleRef": role,
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": GROUP}],
        }
    )
    async with connect(str(as_member(guarded, tmp_path, GROUP))) as server:
        assert NO_KUBELET in await connecting(server, "portforward", ports="8000")
        said = await connecting(server, "exec", container=names.SIDECAR, command="id", stdout="true")
        assert NO_KUBELET in said


def as_member(cluster: KubeCluster, folder: Path, group: str) -> Path:
    document = json.loads(cluster.kubeconfig.read_text())
    certificate, key = folder / "user.crt", folder / "user.key"
    for file, pem in zip((certificate, key), cluster.authority.issue("carol", group), strict=True):
        file.write_bytes(pem)
    document["users"][0]["user"] = {"client-certificate": str(certificate), "client-key": str(key)}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def policy(**spec: Any) -> dict[str, Any]:
    made = copy.deepcopy(POLICY)
    made["metadata"]["namespace"] = SPACE
    made["spec"] |= spec
    return made


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"limits": {}}, "policy_without_limits"),
        ({"limits": {"requests": []}}, "policy_without_limits"),
        ({"input": []}, "policy_without_content_checks"),
    ],
)
async def test_a_weak_policy_is_neither_made_nor_does_one_become_weak(
    guarded: KubeCluster, spec: dict[str, Any], code: str
) -> None:
    with pytest.raises(DependencyRefused, match=code):
        await guarded.server.post(OBJECTS, policy(**spec))
    made = await guarded.server.post(OBJECTS, policy())
    try:
        with pytest.raises(DependencyRefused, match=code):
            await guarded.server.put(f"{OBJECTS}/sentiment", {**made, "spec": policy(**spec)["spec"]})
        await guarded.server.merge(f"{OBJECTS}/sentiment", {"metadata": {"labels": {"x": "y"}}})
        changed = {"spec": {"tenants": ["globex"]}}
        merged = decoded(await guarded.server.merge(f"{OBJECTS}/sentiment", changed), dict[str, Any])
        assert merged["spec"]["tenants"] == ["globex"]
    finally:
        await guarded.server.delete(f"{OBJECTS}/sentiment")
