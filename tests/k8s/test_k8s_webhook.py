"""A real API server calls the webhooks of a real `bartizan injector` process, over TLS that it keeps trusted itself."""

from __future__ import annotations

import asyncio
import base64
import copy
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from bartizan.errors import DependencyRefused
from bartizan.local.processes import Child, free_port, start
from control_plane.injector import names
from control_plane.injector.analyze import analyze
from control_plane.injector.cluster import read_cluster
from control_plane.injector.patch import Injected, inject
from control_plane.injector.upkeep import CONFIGURATIONS
from control_plane.injector.webhook_configuration import webhook_configurations
from control_plane.injector.workloads import items
from tests.k8s.control import KubeCluster
from tests.k8s.pods import answer, forget_admission, make_namespace
from tests.support.pod_cases import case_config, case_namespace, case_pod

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = case_config("plain_one_port")
POLICY: dict[str, Any] = {
    "apiVersion": "bartizan.dev/v1alpha1",
    "kind": "ModelPolicy",
    "metadata": {"name": "sentiment", "namespace": "hooked"},
    "spec": {
        "selector": {"matchLabels": {"app": "sentiment"}},
        "listener": {"tls": "none"},
        "model": {"name": "m", "protocol": "json_fields"},
        "routes": [{"path": "/x", "inputText": ["$.text"]}],
        "tenants": ["acme"],
        "authn": {"apiKeys": {"set": "chat"}},
        "limits": {"requests": [{"per": "key", "rate": "10/s"}]},
        "input": [{"promptInjection": {}}],
    },
}


@dataclass
class Hooks:
    """The injector's process and the address that the API server was told."""

    cluster: KubeCluster
    folder: Path
    port: int
    child: Child | None = None

    async def start(self) -> None:
        self.child = await start(
            "injector",
            [
                sys.executable, "-m", "bartizan", "injector", "run",
                "--config", str(self.folder / "injector.yaml"),
                "--kubernetes", str(self.cluster.kubeconfig),
                "--listen", f"127.0.0.1:{self.port}",
                "--host", "127.0.0.1",
            ],
            log=self.folder / "injector.log",
        )  # fmt: skip

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()
            self.child = None

    async def until(self, what: Callable[[str], bool], pod: dict[str, Any], namespace: str = "hooked") -> str:
        """The API server's answer as soon as it is as expected."""
        said = "nothing"
        for _ in range(600):
            if self.child is not None:
                self.child.check()
            said = await answer(self.cluster, pod, namespace)
            if what(said):
                return said
            await asyncio.sleep(0.1)
        tail = self.child.tail(20) if self.child else ""
        raise AssertionError(f"{said}\n{tail}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hooks(cluster: KubeCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hooks]:
    made = Hooks(cluster, tmp_path_factory.mktemp("hooks"), free_port())
    (made.folder / "injector.yaml").write_bytes(msgspec.yaml.encode(CONFIG))
    await make_namespace(cluster, "hooked", injection="enabled", enforce="true")
    await make_namespace(cluster, "plain")
    cluster.apply(POLICY)
    for configuration in webhook_configurations(CONFIG, "bartizan-system"):
        for webhook in configuration["webhooks"]:
            # No Service leads to this process: the API server is given its address instead.
            path = webhook["clientConfig"].pop("service")["path"]
            webhook["clientConfig"]["url"] = f"https://127.0.0.1:{made.port}{path}"
        cluster.apply(configuration)
    try:
        yield made
    finally:
        await made.stop()
        forget_admission(cluster)


async def test_a_pod_is_injected_and_admitted_over_tls_and_nothing_starts_without_the_webhook(
    hooks: Hooks,
) -> None:
    pod = case_pod("plain_named_port")
    await hooks.until(lambda said: "failed calling webhook" in said, pod)
    assert await answer(hooks.cluster, pod, "plain") == "", "other namespaces do not depend on us"
    await hooks.start()
    await hooks.until(lambda said: not said, pod)

    pod["metadata"].update(name="injected", namespace="hooked")
    made = await hooks.cluster.server.post("/api/v1/namespaces/hooked/pods", pod)
    assert [each["name"] for each in made["spec"]["initContainers"]] == [names.SIDECAR]
    assert made["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    assert made["metadata"]["labels"][names.GUARDED] == "true"
    expected = inject(case_pod("plain_named_port"), case_namespace("plain_named_port"), CONFIG)
    assert isinstance(expected, Injected)
    ours = expected.pod["spec"]["initContainers"][0]
    stored = made["spec"]["initContainers"][0]
    assert {each["name"] for each in stored["env"]} == {each["name"] for each in ours["env"]}
    assert stored["securityContext"] == ours["securityContext"]
    hooks.cluster.kubectl("delete", "pod", "injected", "-n", "hooked", "--force", "--grace-period=0")

    refused = await answer(hooks.cluster, case_pod("refused_host_network"), "hooked")
    assert "spec.hostNetwork" in refused
    assert "[host_network]" in refused
    await hooks.stop()
    await hooks.until(lambda said: "failed calling webhook" in said, case_pod("plain_named_port"))
    assert await answer(hooks.cluster, case_pod("plain_named_port"), "plain") == ""


async def test_a_pod_without_a_policy_is_refused_by_the_validating_webhook(hooks: Hooks) -> None:
    await hooks.start()
    pod = case_pod("vllm_image")
    await hooks.until(lambda said: "no_policy" in said, pod)
    pod["metadata"]["labels"]["app"] = "sentiment"
    await hooks.until(lambda said: not said, pod)
    await hooks.stop()


async def test_policies_and_connections_of_an_enforced_namespace_are_judged_by_the_webhook(
    hooks: Hooks,
) -> None:
    await hooks.start()
    await hooks.until(lambda said: not said, case_pod("plain_named_port"))
    weak = copy.deepcopy(POLICY)
    weak["spec"].pop("limits")
    replaced = hooks.cluster.kubectl("replace", "-f", "-", manifest=weak)
    assert "policy_without_limits" in replaced.stderr

    pod = case_pod("plain_named_port")
    pod["metadata"].update(name="judged", namespace="hooked")
    await hooks.cluster.server.post("/api/v1/namespaces/hooked/pods", pod)
    path = "/api/v1/namespaces/hooked/pods/judged"
    with pytest.raises(DependencyRefused, match=r"\[port_forward\]"):
        await hooks.cluster.server.post(f"{path}/portforward", {}, ports="8000")
    with pytest.raises(DependencyRefused, match=r"\[sidecar_entered\]"):
        await hooks.cluster.server.post(
            f"{path}/exec", {}, command="id", container=names.SIDECAR, stdout="true"
        )
    with pytest.raises(DependencyRefused, match="does not have a host assigned"):
        await hooks.cluster.server.post(f"{path}/exec", {}, command="id", container="model", stdout="true")

    gone = hooks.cluster.kubectl("delete", "modelpolicy", "sentiment", "-n", "hooked", "--dry-run=server")
    assert gone.returncode == 0, gone.stderr
    assert "left without a policy" in gone.stderr
    hooks.cluster.kubectl("delete", "pod", "judged", "-n", "hooked", "--force", "--grace-period=0")
    await hooks.stop()


async def test_a_restarted_webhook_brings_a_new_ca_and_is_trusted_again_while_the_old_root_stays(
    hooks: Hooks,
) -> None:
    pod = case_pod("plain_named_port")
    await hooks.start()
    await hooks.until(lambda said: not said, pod)
    before = await bundles(hooks.cluster)
    await hooks.stop()
    await hooks.start()
    await hooks.until(lambda said: not said, pod)
    after = await bundles(hooks.cluster)
    assert all(count >= 1 for count in before)
    assert [new - old for old, new in zip(before, after, strict=True)] == [1] * len(before)
    await hooks.stop()


async def bundles(cluster: KubeCluster) -> list[int]:
    """How many roots each webhook is trusted by."""

    counts = []
    for path in CONFIGURATIONS:
        for webhook in (await cluster.server.get(path))["webhooks"]:
            pem = base64.b64decode(webhook["clientConfig"].get("caBundle") or "")
            counts.append(pem.count(b"BEGIN CERTIFICATE"))
    return counts


async def test_the_audit_of_a_cluster_finds_what_runs_unguarded(hooks: Hooks) -> None:
    pod = case_pod("vllm_image")
    pod["metadata"].update(name="bare", namespace="plain")
    await hooks.cluster.server.post("/api/v1/namespaces/plain/pods", pod)
    documents = await read_cluster(str(hooks.cluster.kubeconfig))
    findings = analyze(list(items(documents, "cluster")), CONFIG, running=True)
    assert ("high", "model_without_sidecar", "Pod plain/bare") in {
        (each.severity, each.code, each.object) for each in findings
    }
    only = await read_cluster(str(hooks.cluster.kubeconfig), "hooked")
    assert {each["metadata"].get("namespace", "hooked") for each in only} == {"hooked"}
    hooks.cluster.kubectl("delete", "pod", "bare", "-n", "plain", "--force", "--grace-period=0")
