"""What the whole way needs: control plane and injector as processes, an enforced namespace, a pod, and a model in it."""

from __future__ import annotations

import asyncio
import copy
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from aiohttp import web

from bartizan.errors import BartizanError, NotFound
from bartizan.local.processes import Child, free_port, start
from control_plane.injector import names
from control_plane.injector.admission_policy import admission_policy
from control_plane.injector.config import Config
from control_plane.injector.webhook_configuration import webhook_configurations
from tests.k8s.control import KubeCluster
from tests.k8s.pods import forget_admission, make_namespace
from tests.k8s.stand import SYSTEM, KubeStand, built, kube_stand

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


@asynccontextmanager
async def guarded(cluster: KubeCluster, folder: Path) -> AsyncIterator[Way]:
    """Control plane and injector run, and the namespace is one that enforces."""
    for each in built("dev"):
        if each["kind"] in {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"}:
            await asyncio.to_thread(cluster.apply, each)
    config_file = folder / "injector.yaml"
    config_file.write_text(f"image: {IMAGE}\n")
    async with kube_stand(cluster, BARTIZAN_CP_INJECTOR_CONFIG=str(config_file)) as stand:
        config = Config(
            image=IMAGE,
            control_plane=f"127.0.0.1:{stand.stack.ports.grpc}",
            attest=f"127.0.0.1:{stand.stack.ports.attest}",
        )
        await make_namespace(cluster, NAMESPACE, injection="enabled", enforce="true")
        injector = await start_injector(cluster, config, folder, free_port())
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
