"""The whole way with a real API server and real processes: a pod is injected, admitted, attested, guarded, proven.

Control plane and injector run with the rights of their service accounts in deploy/k8s; the kubelet's part is played.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from bartizan.errors import BartizanError, NotFound
from bartizan.local.processes import Child, free_port, start
from control_plane.injector import names
from control_plane.injector.admission_policy import NAME, admission_policy
from control_plane.injector.config import Config
from control_plane.injector.container import MODELS_MOUNT
from control_plane.injector.webhook_configuration import MUTATING, VALIDATING, webhook_configurations
from tests.k8s.control import KubeCluster
from tests.k8s.kubelet import Kubelet
from tests.k8s.pods import answer, forget_admission, make_namespace
from tests.k8s.stand import SYSTEM, KubeStand, built, kube_stand
from tests.support import classifiers

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
NAMESPACE = "guarded"
IMAGE = f"registry.example/bartizan/sidecar@sha256:{'0' * 63}1"


@dataclass
class Way:
    stand: KubeStand
    injector: Child
    listener: int
    model: int

    @property
    def cluster(self) -> KubeCluster:
        return self.stand.cluster

    def policy(self, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "bartizan.dev/v1alpha1",
            "kind": "ModelPolicy",
            "metadata": {"name": "sentiment", "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": {"app": "sentiment"}},
                "listener": {"tls": "none", "address": "127.0.0.1", "port": self.listener},
                "model": {"name": "sentiment", "protocol": "json_fields", "port": self.model},
                "routes": [{"path": "/predict", "inputText": ["$.text"]}],
                "tenants": ["acme"],
                "authn": {"apiKeys": {"set": "sentiment"}},
                "limits": {"requests": [{"per": "key", "rate": "100/s"}]},
                "input": [{"promptInjection": {}}],
                **spec,
            },
        }

    def pod(self, name: str = "sentiment-0", **annotations: str) -> dict[str, Any]:
        """As a Deployment's author writes it: nothing in it knows of Bartizan."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {"app": "sentiment"},
                "annotations": {names.LISTENER_PORT: str(self.listener), **annotations},
            },
            "spec": {
                "serviceAccountName": "sentiment",
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "model",
                        "image": "registry.example/sentiment:1",
                        "ports": [{"name": "http", "containerPort": self.model}],
                        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
                    }
                ],
            },
        }


async def start_injector(cluster: KubeCluster, config: Config, folder: Path, webhook: int) -> Child:
    """`bartizan injector run` under its own service account, and the API server told where it is."""
    (folder / "injector.yaml").write_bytes(msgspec.yaml.encode(config))
    token = await cluster.token(SYSTEM, "bartizan-injector", audiences=[])
    injector = await start(
        "injector",
        [
            sys.executable, "-m", "bartizan", "injector", "run",
            "--config", str(folder / "injector.yaml"),
            "--kubernetes", str(cluster.kubeconfig_of("injector", token)),
            "--listen", f"127.0.0.1:{webhook}",
            "--host", "127.0.0.1",
        ],
        log=folder / "injector.log",
    )  # fmt: skip
    for configuration in webhook_configurations(config, SYSTEM):
        for each in configuration["webhooks"]:
            # No Service leads to this process: the API server is given its address instead.
            path = each["clientConfig"].pop("service")["path"]
            each["clientConfig"]["url"] = f"https://127.0.0.1:{webhook}{path}"
        await asyncio.to_thread(cluster.apply, configuration)
    await asyncio.to_thread(cluster.apply, yaml.safe_dump_all(admission_policy(config)))
    return injector


@pytest_asyncio.fixture(loop_scope="session")
async def way(cluster: KubeCluster, tmp_path: Path) -> AsyncIterator[Way]:
    for each in built("dev"):
        if each["kind"] in {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"}:
            await asyncio.to_thread(cluster.apply, each)
    config_file = tmp_path / "injector.yaml"
    config_file.write_text(f"image: {IMAGE}\n")
    async with kube_stand(cluster, BARTIZAN_CP_INJECTOR_CONFIG=str(config_file)) as stand:
        config = Config(
            image=IMAGE,
            control_plane=f"127.0.0.1:{stand.stack.ports.grpc}",
            attest=f"127.0.0.1:{stand.stack.ports.attest}",
        )
        await make_namespace(cluster, NAMESPACE, injection="enabled", enforce="true")
        injector = await start_injector(cluster, config, tmp_path, free_port())
        try:
            async with stand.stack.client() as client:
                await client.create_key_set("sentiment")
            yield Way(stand, injector, free_port(), free_port())
        finally:
            await injector.stop()
            forget_admission(cluster)
            cluster.kubectl(
                "delete", "pods,modelpolicies", "--all", "-n", NAMESPACE, "--force", "--grace-period=0"
            )


async def serve_model(port: int) -> tuple[web.AppRunner, list[str]]:
    reached: list[str] = []

    async def predict(request: web.Request) -> web.Response:
        reached.append((await request.json())["text"])
        return web.json_response({"label": "good"})

    app = web.Application()
    app.router.add_post("/predict", predict)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, reached


async def created(way: Way, pod: dict[str, Any]) -> dict[str, Any]:
    """As soon as the API server trusts the webhook."""
    async with asyncio.timeout(60):
        while True:
            way.injector.check()
            try:
                return await way.cluster.server.post(
                    f"/api/v1/namespaces/{NAMESPACE}/pods", copy.deepcopy(pod)
                )
            except BartizanError as error:
                if "failed calling webhook" not in str(error):
                    raise
            await asyncio.sleep(0.2)


async def trusted(way: Way) -> bytes:
    """The trust document, as soon as it is in the namespace."""
    async with asyncio.timeout(60):
        while True:
            try:
                found = await way.cluster.server.get(
                    f"/api/v1/namespaces/{NAMESPACE}/configmaps/bartizan-trust"
                )
                return str(found["data"]["trust.json"]).encode()
            except NotFound:
                await asyncio.sleep(0.2)


async def test_a_policy_that_an_image_can_not_enforce_is_shown_as_that_and_enforced_by_no_half(
    way: Way, tmp_path: Path
) -> None:
    """The image lacks the firewall's rules; a model for the classifier came from a ConfigMap."""
    cluster, stand = way.cluster, way.stand
    files = classifiers.made(tmp_path)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "guard-models", "namespace": NAMESPACE},
        "binaryData": {
            each.name: base64.b64encode(each.read_bytes()).decode()
            for each in (tmp_path / "guard.onnx", tmp_path / "tokenizer.json")
        },
    }
    await asyncio.to_thread(cluster.apply, config_map)
    await stand.put(way.policy(waf={"crs": {}}))
    pod = await created(way, way.pod(**{names.MODEL_FILES: "configmap/guard-models"}))
    await trusted(way)
    runner, reached = await serve_model(way.model)
    image = {"BARTIZAN_CRS_DIR": str(tmp_path / "none"), "BARTIZAN_MODEL_DIR": MODELS_MOUNT}
    kubelet = Kubelet(cluster, stand.folder / "pod", image=image)
    try:
        stand.stack.sidecar = await kubelet.start(pod, names.SIDECAR)

        def incapable(status: dict[str, Any]) -> bool:
            return [one["reason"] for one in status.get("missing", [])] == ["incapable: waf.crs"]

        status = await stand.until(NAMESPACE, "sentiment", incapable)
        assert status["summary"] == "PENDING 0/1"

        checked = [{"promptInjection": {"classifier": files.written()}}]
        await stand.put(way.policy(input=checked))
        await stand.until(NAMESPACE, "sentiment", lambda status: status["summary"] == "ENFORCED 1/1")
        async with stand.stack.client() as client:
            key = (await client.issue_key("sentiment", tenant="acme")).key

        async def ask(text: str) -> int:
            url = f"http://127.0.0.1:{way.listener}/predict"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, json={"text": text}, headers={"x-api-key": key}) as answer,
            ):
                return answer.status

        async with asyncio.timeout(60):
            while await ask(classifiers.BENIGN) != 200:  # the key travels on its own
                await asyncio.sleep(0.1)
        assert await ask(classifiers.ATTACK) == 403

        # what it can't enforce changes nothing of what it does
        await stand.put(way.policy(waf={"crs": {}}, input=checked, tenants=["other"]))
        await stand.until(NAMESPACE, "sentiment", incapable)
        assert (await ask(classifiers.BENIGN), await ask(classifiers.ATTACK)) == (200, 403)
        assert set(reached) == {classifiers.BENIGN}
    finally:
        if kubelet.child is not None:
            await kubelet.child.stop()
        await runner.cleanup()


async def test_every_source_of_model_files_is_taken_by_an_enforced_namespace(way: Way) -> None:
    await way.stand.put(way.policy())
    kinds = {"claim/x": "persistentVolumeClaim", "configmap/x": "configMap", f"image/{IMAGE}": "image"}
    for told, kind in kinds.items():
        pod = await created(way, way.pod(f"with-{kind.lower()}", **{names.MODEL_FILES: told}))
        (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == names.MODELS_VOLUME]
        assert kind in volume
        (mount,) = [
            each
            for each in pod["spec"]["initContainers"][0]["volumeMounts"]
            if each["name"] == names.MODELS_VOLUME
        ]
        assert (mount["mountPath"], mount["readOnly"]) == (MODELS_MOUNT, True)


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
