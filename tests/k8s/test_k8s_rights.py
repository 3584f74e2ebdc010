"""The injector's rights in deploy/k8s, as the API server grants them to its service account: enough, and no more."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bartizan.errors import DependencyRefused
from control_plane.injector.authority import own_material
from control_plane.injector.cluster import ClusterPolicies, GuardedPods, Namespaces
from control_plane.injector.upkeep import CONFIGURATIONS, Upkeep
from control_plane.injector.webhook_configuration import webhook_configurations
from control_plane.kubernetes.api_server import ApiServer, connect
from tests.k8s.control import KubeCluster
from tests.k8s.pods import forget_admission, make_namespace
from tests.k8s.stand import SYSTEM, built
from tests.support.pod_cases import case_config

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = case_config("plain_one_port")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def injector(cluster: KubeCluster) -> AsyncIterator[ApiServer]:
    """A client that is the injector."""
    for each in built("prod"):
        if each["kind"] in {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"}:
            await asyncio.to_thread(cluster.apply, each)
    for configuration in webhook_configurations(CONFIG, SYSTEM):
        cluster.apply(configuration)
    await make_namespace(cluster, "granted", injection="enabled")
    token = await cluster.token(SYSTEM, "bartizan-injector", audiences=[])
    async with connect(str(cluster.kubeconfig_of("injector-rights", token))) as server:
        yield server
    forget_admission(cluster)


async def test_they_are_enough_for_its_work(injector: ApiServer) -> None:
    material = own_material(("webhook.example",), dt.datetime.now(dt.UTC))
    upkeep = Upkeep(injector, CONFIG, lambda: material.roots_pem, None)
    await upkeep.look()
    assert upkeep.published
    assert (await Namespaces(injector)("granted")).injection
    assert await ClusterPolicies(injector)("granted") == []
    assert await GuardedPods(injector)("granted") == []


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("get", "/api/v1/secrets"),
        ("get", "/api/v1/namespaces/granted/configmaps"),
        ("get", "/api/v1/namespaces"),
        ("get", "/apis/apps/v1/deployments"),
        ("get", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"),
        ("get", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/another"),
        ("delete", CONFIGURATIONS[0]),
        ("delete", CONFIGURATIONS[1]),
        ("delete", "/api/v1/namespaces/granted/pods/x"),
        ("get", "/apis/bartizan.dev/v1alpha1/namespaces/granted/modelpolicies/x"),
        ("delete", "/apis/bartizan.dev/v1alpha1/namespaces/granted/modelpolicies/x"),
    ],
)
async def test_they_end_where_its_work_ends(injector: ApiServer, verb: str, path: str) -> None:
    with pytest.raises(DependencyRefused, match="403"):
        await (injector.get(path) if verb == "get" else injector.delete(path))
