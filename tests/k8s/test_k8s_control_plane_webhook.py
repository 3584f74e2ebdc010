"""The control plane serves the webhooks itself: its issuer's certificate, its policies, its trust document."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
import yaml

from bartizan.errors import NotFound
from bartizan.local.processes import free_port
from control_plane.injector import names
from control_plane.injector.webhook_configuration import webhook_configurations
from tests.k8s.control import KubeCluster
from tests.k8s.pods import answer, forget_admission, make_namespace
from tests.k8s.stand import KubeStand, kube_stand
from tests.k8s.test_k8s_webhook import CONFIG, POLICY
from tests.support.pod_cases import case_pod

pytestmark = pytest.mark.asyncio(loop_scope="session")
SPACE = "watched"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stand(cluster: KubeCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KubeStand]:
    file = tmp_path_factory.mktemp("injector") / "injector.yaml"
    file.write_bytes(msgspec.yaml.encode(CONFIG))
    port = free_port()
    await make_namespace(cluster, SPACE, injection="enabled", enforce="true")
    for configuration in webhook_configurations(CONFIG, "bartizan-system"):
        for webhook in configuration["webhooks"]:
            path = webhook["clientConfig"].pop("service")["path"]
            webhook["clientConfig"]["url"] = f"https://127.0.0.1:{port}{path}"
        cluster.apply(configuration)
    settings = {
        "BARTIZAN_CP_KUBERNETES": str(cluster.kubeconfig),
        "BARTIZAN_CP_WEBHOOK_LISTEN": f"127.0.0.1:{port}",
        "BARTIZAN_CP_INJECTOR_CONFIG": str(file),
    }
    try:
        async with kube_stand(cluster, **settings) as made:
            yield made
    finally:
        forget_admission(cluster)


async def test_pods_are_injected_and_admitted_by_a_policy_of_the_api(stand: KubeStand) -> None:
    pod = case_pod("plain_named_port")
    await until(stand, "no_policy")
    document = copy.deepcopy(POLICY)
    document["metadata"]["namespace"] = SPACE
    async with stand.stack.client() as client:
        await client.apply(yaml.safe_dump(document))
    assert await until(stand, "") == ""
    pod["metadata"].update(name="one", namespace=SPACE)
    made = await stand.cluster.server.post(f"/api/v1/namespaces/{SPACE}/pods", pod)
    assert made["spec"]["initContainers"][0]["name"] == names.SIDECAR


async def test_labelled_namespaces_get_the_trust_document_and_get_it_back(stand: KubeStand) -> None:
    document = (await stand.trust()).decode()
    path = f"/api/v1/namespaces/{SPACE}/configmaps/{names.TRUST_CONFIG_MAP}"
    found = await config_map(stand, path, document)
    assert found == {"trust.json": document}
    await stand.cluster.server.merge(path, {"data": {"trust.json": "forged", "more": "x"}})
    assert await config_map(stand, path, document) == {"trust.json": document}
    with pytest.raises(NotFound):
        await stand.cluster.server.get(f"/api/v1/namespaces/default/configmaps/{names.TRUST_CONFIG_MAP}")


async def config_map(stand: KubeStand, path: str, wanted: str) -> dict[str, str]:
    """Its data as soon as it is the wanted document alone; the control plane looks every 30 seconds."""
    data: dict[str, str] = {}
    for _ in range(900):
        try:
            data = (await stand.cluster.server.get(path)).get("data") or {}
        except NotFound:
            data = {}
        if data == {"trust.json": wanted}:
            break
        await asyncio.sleep(0.1)
    return data


async def until(stand: KubeStand, word: str) -> str:
    """The API server's answer as soon as it holds the word, or is good for ""."""
    said = "nothing"
    for _ in range(600):
        said = await answer(stand.cluster, case_pod("plain_named_port"), SPACE)
        if word in said if word else not said:
            return said
        await asyncio.sleep(0.1)
    tail = stand.stack.control_plane.tail(30) if stand.stack.control_plane else ""
    raise AssertionError(f"{said}\n{tail}")
