"""`bartizan injector run` as the API server meets it: trusted before it says that it is ready, counted, refused when it can't work."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from bartizan import tasks
from bartizan.cli.root import cli
from bartizan.errors import InvalidInput
from bartizan.local.processes import free_port
from control_plane.injector import names
from control_plane.injector.standalone import Standalone, run
from control_plane.injector.upkeep import CONFIGURATIONS
from control_plane.injector.webhook_configuration import webhook_configurations
from control_plane.setting_values import Address
from tests.support.api_server_stand import ApiServerStand, api_server_stand, write_kubeconfig
from tests.support.broken_pods import injected
from tests.support.pod_cases import IMAGE, case_config, case_pod
from tests.support.webhook_stand import policy_document, review

CONFIG = case_config("plain_one_port")


@dataclass
class Injector:
    cluster: ApiServerStand
    settings: Standalone

    def roots(self) -> str:
        """By which the API server knows the webhooks; "" while it was told of none."""
        (webhook, *_) = self.cluster.objects[CONFIGURATIONS[0]]["webhooks"]
        return base64.b64decode(webhook["clientConfig"].get("caBundle", "")).decode()

    async def get(self, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """As the API server asks: trusting what stands in the configuration, nothing else."""
        context = ssl.create_default_context(cadata=self.roots())
        url = f"https://{self.settings.listen}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request("GET" if body is None else "POST", url, data=body, ssl=context) as response,
        ):
            return response.status, await response.json()

    async def metrics(self) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.settings.metrics}/metrics") as response,
        ):
            return await response.text()


def settings(
    folder: Path, cluster: ApiServerStand, text: str = "", namespace: str = "bartizan-system"
) -> Standalone:
    file = folder / "injector.yaml"
    file.write_text(text or f"image: {IMAGE}\n")
    return Standalone(
        config=file,
        kubernetes=str(write_kubeconfig(folder / "config", f"http://127.0.0.1:{cluster.port}")),
        listen=Address(host="127.0.0.1", port=free_port()),
        metrics=Address(host="127.0.0.1", port=free_port()),
        namespace=namespace,
        hosts=("127.0.0.1",),
    )


@pytest.fixture
async def injector(tmp_path: Path) -> AsyncIterator[Injector]:
    async with api_server_stand() as cluster:
        for path, document in zip(CONFIGURATIONS, webhook_configurations(CONFIG, "x"), strict=True):
            cluster.put(path, document)
        metadata = {"name": "prod", "labels": {names.INJECTION: "enabled"}}
        cluster.put("/api/v1/namespaces/prod", {"metadata": metadata})
        cluster.conflicts = 3
        made = Injector(cluster, settings(tmp_path, cluster))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks.start(group, run(made.settings, stop), name="injector")
            yield made
            stop.set()


async def ready(injector: Injector) -> None:
    async with asyncio.timeout(60):
        while not injector.roots() or (await injector.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.02)


async def test_it_is_trusted_when_it_is_ready_and_what_it_answers_is_counted(injector: Injector) -> None:
    await ready(injector)
    pod = case_pod("plain_one_port")
    status, answer = await injector.get("/mutate", review(pod))
    assert status == 200
    assert answer["response"]["patchType"] == "JSONPatch"
    status, answer = await injector.get("/validate", review(pod))
    assert "sidecar_missing" in answer["response"]["status"]["message"]
    text = await injector.metrics()
    assert 'bartizan_admissions_total{outcome="injected",webhook="mutate"}' in text
    assert 'bartizan_admission_seconds_count{webhook="validate"}' in text
    assert "bartizan_webhook_certificate_ends_seconds" in text


async def test_pods_are_admitted_by_the_policies_of_the_cluster_and_by_no_invalid_one(
    injector: Injector,
) -> None:
    await ready(injector)
    pod = review(injected())

    async def answer() -> dict[str, Any]:
        _, said = await injector.get("/validate", pod)
        response: dict[str, Any] = said["response"]
        return response

    good = policy_document("sentiment")["spec"]
    assert "no_policy" in (await answer())["status"]["message"]
    injector.cluster.policy("sentiment", {**good, "tenants": []}, "prod")
    assert "no_policy" in (await answer())["status"]["message"]
    injector.cluster.policy("sentiment", good, "prod")
    assert await answer() == {"uid": "u-1", "allowed": True}


@pytest.mark.parametrize(
    ("text", "namespace", "why"),
    [
        ("image: x", "bartizan-system", "image"),
        (f"image: {IMAGE}\n", "security", "security must be in it"),
        (
            f"image: {IMAGE}\nexemptNamespaces: [bartizan-system]\n",
            "bartizan-system",
            "kube-system must be in it",
        ),
    ],
)
async def test_what_can_not_work_is_refused_at_the_start(
    tmp_path: Path, text: str, namespace: str, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        async with api_server_stand() as cluster:
            await run(settings(tmp_path, cluster, text, namespace), asyncio.Event())


def test_the_help_says_which_policies_count() -> None:
    said = " ".join(CliRunner().invoke(cli, ["injector", "run", "--help"]).output.split())
    assert "Of policies they know those that are ModelPolicy objects of the cluster" in said
    assert "policies are not checked" not in said
