"""Reconciling and attestation with a real API server, under the rights of deploy/k8s."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio

from bartizan.client import Client
from bartizan.errors import DependencyRefused, IdentityRefused, NotFound
from bartizan.identity import TrustDocument
from bartizan.tls import make_csr, new_key
from control_plane.kubernetes.api_server import connect
from control_plane.kubernetes.attestation import VerifiedTokens
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc
from tests.k8s.control import KubeCluster
from tests.k8s.stand import POLICIES, SYSTEM, KubeStand, kube_stand, namespace
from tests.k8s.test_k8s_crd import GOOD

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stand(cluster: KubeCluster) -> AsyncIterator[KubeStand]:
    async with kube_stand(cluster) as made:
        for name in ("prod", "other"):
            await namespace(cluster, name, "chat")
        yield made


def policy(name: str, namespace: str = "prod", **spec: Any) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    made["metadata"] = {"name": name, "namespace": namespace}
    made["spec"] |= {"selector": {"matchLabels": {"app": name}}, "input": [{"promptInjection": {}}], **spec}
    return made


def pod(name: str, namespace: str = "prod", account: str = "chat", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"serviceAccountName": account, "containers": [{"name": "model", "image": "example/model"}]},
    }


async def test_an_object_gets_its_status_and_its_end(stand: KubeStand) -> None:
    await stand.put(policy("one"))
    status = await stand.until("prod", "one", lambda status: status["summary"] == "NO SIDECAR")
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Accepted": "True",
        "Published": "True",
        "Enforced": "False",
        "Warning": "False",
    }
    async with stand.stack.client() as client:
        assert {each.origin for each in await client.policies() if each.name == "prod/one"} == {"kubernetes"}
    # what only the control plane can judge: an expression
    await stand.put(policy("one", authz=[{"name": "typo", "allow": "identity.tenat == 'a'"}]))
    status = await stand.until("prod", "one", lambda status: status["observedGeneration"] == 2)
    assert status["summary"] == "INVALID, revision 1 NO SIDECAR"
    assert [each["path"] for each in status["problems"]] == ["spec.authz[0].allow"]
    await stand.cluster.server.delete(f"{POLICIES.format('prod')}/one")
    async with stand.stack.client() as client, asyncio.timeout(60):
        while "prod/one" in {each.name for each in await client.policies()}:
            await asyncio.sleep(0.1)


async def attest(stand: KubeStand, token: str) -> identity_pb2.Certificate:
    async with Client(stand.stack.api_url, ca_file=stand.stack.ca_file) as client:
        trust = await client.trust()
    roots = "\n".join(msgspec.json.decode(trust, type=TrustDocument).roots)
    credentials = grpc.ssl_channel_credentials(roots.encode())
    async with grpc.aio.secure_channel(f"127.0.0.1:{stand.stack.ports.attest}", credentials) as channel:
        request = identity_pb2.AttestRequest(kubernetes_token=token, csr=make_csr(new_key()))
        return await identity_pb2_grpc.IdentityStub(channel).Attest(request, timeout=20)


async def test_a_pods_token_passes_token_review_and_gives_its_identity(stand: KubeStand) -> None:
    made = await stand.cluster.server.post(
        "/api/v1/namespaces/prod/pods", pod("chat-0", app="one", tier="gpu")
    )
    certificate = await attest(stand, await stand.cluster.token("prod", "chat", pod=made))
    assert certificate.spiffe_id == "spiffe://bartizan.local/ns/prod/sa/chat"
    async with stand.stack.client() as client:
        (instance,) = [
            each for each in await client.instances() if each.instance_id == certificate.instance_id
        ]
    assert instance.labels == {"app": "one", "tier": "gpu"}
    # the cluster's own keys say the same
    async with connect(str(stand.cluster.kubeconfig)) as server:
        found = await VerifiedTokens(server).pod(await stand.cluster.token("prod", "chat", pod=made))
        assert found.bound.pod_uid == made["metadata"]["uid"]
        with pytest.raises(IdentityRefused, match="not for the audience"):
            await VerifiedTokens(server).pod(
                await stand.cluster.token("prod", "chat", pod=made, audiences=["vault"])
            )
    # the pod goes, and with it the instance
    await stand.cluster.server.delete("/api/v1/namespaces/prod/pods/chat-0")
    async with stand.stack.client() as client, asyncio.timeout(60):
        while certificate.instance_id in {each.instance_id for each in await client.instances()}:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("case", ["unbound", "audience", "gone", "garbage", "cluster's own"])
async def test_no_other_token_attests(stand: KubeStand, case: str) -> None:
    cluster, name = stand.cluster, f"none-{case[:3]}"
    made = await cluster.server.post("/api/v1/namespaces/prod/pods", pod(name, app="none"))
    match case:
        case "unbound":
            token = await cluster.token("prod", "chat")
        case "audience":
            token = await cluster.token("prod", "chat", pod=made, audiences=["vault"])
        case "gone":
            token = await cluster.token("prod", "chat", pod=made)
            await cluster.server.delete(f"/api/v1/namespaces/prod/pods/{name}")
        case "garbage":
            token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln"
        case _:
            token = await cluster.token("prod", "chat", pod=made, audiences=[])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attest(stand, token)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_control_planes_rights_end_where_its_work_ends(stand: KubeStand) -> None:
    token = await stand.cluster.token(SYSTEM, "bartizan", audiences=[])
    async with connect(str(stand.cluster.kubeconfig_of("probe", token))) as server:
        for path in (
            "/api/v1/namespaces/prod/secrets",
            "/api/v1/namespaces/prod/configmaps",
            "/api/v1/pods",
            "/apis/apps/v1/deployments",
        ):
            with pytest.raises(DependencyRefused, match="403"):
                await server.get(path)
        with pytest.raises(DependencyRefused, match="403"):
            await server.post(POLICIES.format("prod"), policy("forged"))
        with pytest.raises(DependencyRefused, match="403"):
            await server.delete("/api/v1/namespaces/prod/pods/x")
        with pytest.raises(NotFound):
            await server.get("/api/v1/namespaces/prod/pods/no-such-pod")


async def test_the_lease_is_held_by_the_one_that_reconciles(stand: KubeStand) -> None:
    name = (stand.stack.state / "control-plane/replica").read_text().strip()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/bartizan-reconciler"
    holder = ""
    for _ in range(600):  # it is ready before it leads
        with contextlib.suppress(NotFound):
            holder = (await stand.cluster.server.get(path))["spec"]["holderIdentity"]
        if holder:
            break
        await asyncio.sleep(0.1)
    assert holder == name


async def test_a_restarted_control_plane_makes_up_for_what_it_missed(stand: KubeStand) -> None:
    await stand.put(policy("kept"))
    await stand.put(policy("goes"))
    for name in ("kept", "goes"):
        await stand.until("prod", name, lambda status: status["summary"] == "NO SIDECAR")
    assert stand.stack.control_plane is not None
    await stand.stack.control_plane.stop()
    await stand.cluster.server.delete(f"{POLICIES.format('prod')}/goes")
    await stand.put(policy("kept", tenants=["acme", "globex"]))
    await stand.put(policy("fresh"))
    await stand.stack.start_control_plane()
    await stand.until("prod", "kept", lambda status: status["observedGeneration"] == 2)
    await stand.until("prod", "fresh", lambda status: status["summary"] == "NO SIDECAR")
    async with stand.stack.client() as client, asyncio.timeout(60):
        while "prod/goes" in {each.name for each in await client.policies()}:
            await asyncio.sleep(0.1)
