"""The whole way with a real API server and real processes: a pod is injected, admitted, attested, guarded, proven.

Control plane and injector run with the rights of their service accounts in deploy/k8s; the kubelet's part is played.
"""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from control_plane.injector import names
from control_plane.injector.admission_policy import NAME
from control_plane.injector.webhook_configuration import MUTATING, VALIDATING
from tests.k8s.kubelet import Kubelet
from tests.k8s.pods import answer
from tests.k8s.way import IMAGE, NAMESPACE, Way, created, serve_model, trusted

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


async def test_a_pod_goes_from_its_manifest_to_a_proven_status(way: Way) -> None:
    cluster, stand = way.cluster, way.stand
    await stand.put(way.policy())
    await stand.until(NAMESPACE, "sentiment", lambda status: status["summary"] == "NO SIDECAR")

    # inject and admit
    pod = await created(way, way.pod())
    sidecar = pod["spec"]["initContainers"][0]
    assert (sidecar["name"], sidecar["image"]) == (names.SIDECAR, IMAGE)
    assert "sidecar" not in str(way.pod())

    # the trust document came into the namespace
    assert await trusted(way) == await stand.trust()

    # attest, bundle, proof
    runner, reached = await serve_model(way.model)
    kubelet = Kubelet(cluster, stand.folder / "pod")
    try:
        stand.stack.sidecar = await kubelet.start(pod, names.SIDECAR)
        status = await stand.until(NAMESPACE, "sentiment", lambda status: status["summary"] == "ENFORCED 1/1")
        assert {each["type"]: each["status"] for each in status["conditions"]} == {
            **dict.fromkeys(("Accepted", "Published", "Enforced"), "True"),
            "Warning": "False",
        }
        table = await asyncio.to_thread(cluster.kubectl, "get", "modelpolicy", "sentiment", "-n", NAMESPACE)
        assert "ENFORCED 1/1" in table.stdout
        waited = await asyncio.to_thread(
            cluster.kubectl, "wait", "--for=condition=Enforced", "modelpolicy/sentiment", "-n", NAMESPACE
        )
        assert waited.returncode == 0, waited.stderr
        async with stand.stack.client() as client:
            key = (await client.issue_key("sentiment", tenant="acme")).key
            (instance,) = [each for each in await client.instances() if each.namespace == NAMESPACE]
        assert instance.spiffe_id == f"spiffe://bartizan.local/ns/{NAMESPACE}/sa/sentiment"
        assert instance.labels["app"] == "sentiment"
        url = f"http://127.0.0.1:{way.listener}/predict"
        async with aiohttp.ClientSession() as client_session, asyncio.timeout(60):
            async with client_session.post(url, json={"text": "no key"}) as refused:
                assert refused.status == 401
            while True:  # the key travels on its own
                async with client_session.post(
                    url, json={"text": "fine"}, headers={"x-api-key": key}
                ) as allowed:
                    if allowed.status == 200:
                        break
                await asyncio.sleep(0.1)
        assert reached == ["fine"]

        # a changed object reaches the running pod
        await stand.put(way.policy(tenants=["other"]))
        await stand.until(
            NAMESPACE,
            "sentiment",
            lambda status: status["observedGeneration"] == 2 and status["summary"] == "ENFORCED 1/1",
        )
        async with (
            aiohttp.ClientSession() as client_session,
            client_session.post(url, json={"text": "not yours"}, headers={"x-api-key": key}) as refused,
        ):
            assert refused.status == 403
    finally:
        if kubelet.child is not None:
            await kubelet.child.stop()
        await runner.cleanup()

    # no model starts unguarded, with the webhook or without any
    naked = way.pod("naked")
    naked["spec"]["containers"][0]["image"] = "docker.io/vllm/vllm-openai:v0.9.0"
    naked["metadata"]["labels"][names.INJECT] = "false"
    assert await answer(cluster, naked, NAMESPACE)
    await way.injector.stop()
    assert "failed calling webhook" in await answer(cluster, way.pod("late"), NAMESPACE)
    for kind, name in (
        ("mutatingwebhookconfiguration", MUTATING),
        ("validatingwebhookconfiguration", VALIDATING),
    ):
        await asyncio.to_thread(cluster.kubectl, "delete", kind, name)
    async with asyncio.timeout(60):
        while "failed calling webhook" in (said := await answer(cluster, way.pod("late"), NAMESPACE)):
            await asyncio.sleep(0.2)
    assert NAME in said, "the API server's own policy"

    # and with its pod the instance goes
    await cluster.server.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/sentiment-0")
    await stand.until(NAMESPACE, "sentiment", lambda status: status["summary"] == "NO SIDECAR")
