"""MeshPolicy objects with a real API server: schema, rules, who may write them, and their way to an endpoint."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bartizan.errors import BartizanError
from tests.k8s.control import KubeCluster
from tests.k8s.stand import KubeStand, kube_stand, namespace
from tests.k8s.test_k8s_crd import GOOD

pytestmark = pytest.mark.asyncio(loop_scope="session")
MESHES = "/apis/bartizan.dev/v1alpha1/meshpolicies"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stand(cluster: KubeCluster) -> AsyncIterator[KubeStand]:
    async with kube_stand(cluster) as made:
        await namespace(cluster, "meshed", "chat")
        yield made


def mesh(name: str = "base", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "bartizan.dev/v1alpha1",
        "kind": "MeshPolicy",
        "metadata": {"name": name},
        "spec": {"selector": {"namespaces": ["meshed"]}, **spec},
    }


async def answer(cluster: KubeCluster, document: Any) -> str:
    """Why the API server would not take it; "" when it would."""
    try:
        await cluster.server.post(MESHES, document, dryRun="All", fieldValidation="Ignore")
    except BartizanError as error:
        return str(error)
    return ""


REFUSED = {
    "nothing in it": (mesh(), "has neither defaults nor overrides"),
    "no selector": (
        {**mesh(), "spec": {"defaults": {"mode": "enforce"}}},
        "spec.selector",
    ),
    "an endpoint's own field": (mesh(defaults={"routes": []}), "spec.defaults: a field here is not part of the language"),
    "misspelt check": (mesh(overrides={"input": [{"promptInjecton": {}}]}), "spec.overrides.input: a field here"),
    "no method": (mesh(defaults={"authn": {}}), "names no method"),
    "allow rule": (mesh(overrides={"authz": [{"name": "a", "allow": "true"}]}), "spec.overrides.authz"),
    "two limits per key": (
        mesh(overrides={"limits": {"requests": [{"per": "key", "rate": "1/s"}, {"per": "key", "rate": "2/s"}]}}),
        "at most one limit",
    ),
    "priority": (mesh(priority=1001, defaults={"mode": "enforce"}), "spec.priority"),
    "name": ({**mesh(defaults={"mode": "enforce"}), "metadata": {"name": "a.b"}}, "RFC 1123 label"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(REFUSED))
async def test_a_bad_mesh_policy_is_refused_with_the_reason(cluster: KubeCluster, case: str) -> None:
    document, why = REFUSED[case]
    async with asyncio.timeout(60):
        while not (said := await answer(cluster, document)):
            await asyncio.sleep(0.1)  # the field policy is compiled a moment after it was created
    assert why in said


async def test_a_good_mesh_policy_is_taken_whole(cluster: KubeCluster) -> None:
    document = mesh(
        priority=3,
        defaults={"listener": {"tls": "none", "port": 9000}, "input": [{"promptInjection": {}}]},
        overrides={"limits": {"body": {"max": "1KiB"}}, "mode": "enforce"},
    )
    made = await cluster.server.post(MESHES, document, dryRun="All")
    assert made["spec"] == document["spec"]


async def test_an_admin_of_a_namespace_may_not_write_one(stand: KubeStand) -> None:
    for role, may in (("bartizan-policy-editor", "no"), ("bartizan-mesh-editor", "yes")):
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"test-{role}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": role}],
        }
        await stand.put(binding)
        async with asyncio.timeout(60):
            while True:
                done = stand.cluster.kubectl("auth", "can-i", "create", "meshpolicies", "--as", role)
                if done.stdout.strip() == may:
                    break
                await asyncio.sleep(0.2)


async def test_an_object_holds_at_its_endpoints_and_ends_with_its_deletion(stand: KubeStand) -> None:
    policy = copy.deepcopy(GOOD)
    policy["metadata"] = {"name": "chat", "namespace": "meshed"}
    policy["spec"]["input"] = [{"promptInjection": {}}]
    del policy["spec"]["tenants"]
    await stand.put(policy)
    await stand.until("meshed", "chat", lambda status: status["summary"] == "INVALID")
    await stand.put(mesh(defaults={"tenants": ["org"]}, overrides={"mode": "shadow"}))
    await stand.until("meshed", "chat", lambda status: status["summary"] == "NO SIDECAR")
    async with stand.stack.client() as client:
        found = await client.effective("meshed/chat")
        assert (found.document["spec"]["tenants"], found.document["spec"]["mode"]) == (["org"], "shadow")
        async with asyncio.timeout(60):
            while True:
                status = (await stand.cluster.server.get(f"{MESHES}/base")).get("status", {})
                if status.get("summary") == "PENDING 0/1":
                    break
                await asyncio.sleep(0.1)
        policy["spec"]["tenants"] = ["acme"]
        await stand.put(policy)
        await stand.until("meshed", "chat", lambda status: status["revision"] == 2)
        await stand.cluster.server.delete(f"{MESHES}/base")
        async with asyncio.timeout(60):
            while await client.meshes():
                await asyncio.sleep(0.1)
        assert "mode" not in (await client.effective("meshed/chat")).document["spec"]
