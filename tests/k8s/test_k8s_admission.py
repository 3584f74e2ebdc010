"""A real API server judges pods by the generated admission policy, and as the webhook's own evaluation does."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
import yaml

from bartizan.errors import DependencyRefused, NotFound
from control_plane.injector import names
from control_plane.injector.admission_policy import NAME, admission_policy
from control_plane.injector.judge import pod_judge
from control_plane.injector.patch import Injected, inject
from tests.k8s.control import KubeCluster
from tests.k8s.pods import answer, forget_admission, make_namespace
from tests.support.broken_pods import BROKEN, injected
from tests.support.pod_cases import CASES, case_config, case_namespace, case_pod

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = case_config("plain_one_port")
JUDGE = pod_judge(CONFIG)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(cluster: KubeCluster) -> AsyncIterator[KubeCluster]:
    """An enforced namespace, the policy, and no webhook at all."""
    await make_namespace(cluster, "enforced", enforce="true")
    await make_namespace(cluster, "free")
    async with asyncio.timeout(60):  # until the API server has forgotten the one of an earlier module
        while await answer(cluster, case_pod("plain_one_port"), "enforced"):
            await asyncio.sleep(0.1)
    cluster.apply(yaml.safe_dump_all(admission_policy(CONFIG)))
    async with asyncio.timeout(60):  # and has taken this one in
        while NAME not in await answer(cluster, case_pod("plain_one_port"), "enforced"):
            await asyncio.sleep(0.1)
    yield cluster
    forget_admission(cluster)


async def test_what_the_injector_makes_is_admitted_and_judged_as_the_webhook_judges_it(
    guarded: KubeCluster,
) -> None:
    """Pods made for another configuration than the policy's are refused by both."""
    differ, admitted = {}, 0
    for case in CASES:
        result = inject(case_pod(case), case_namespace(case), case_config(case))
        if not isinstance(result, Injected):
            continue
        broken = [rule.code for rule in JUDGE.broken(result.pod)]
        why = await answer(guarded, result.pod, "enforced")
        if bool(why) != bool(broken) or (broken and f"{broken[0]}:" not in why):
            differ[case] = (broken, why)
        admitted += not why
    assert differ == {}
    assert admitted >= 60


async def test_a_broken_pod_is_refused_for_the_rule_that_it_breaks_here(guarded: KubeCluster) -> None:
    differ = {}
    for case, (code, change) in BROKEN.items():
        pod = injected()
        change(pod)
        pod = msgspec.json.decode(msgspec.json.encode(pod))
        why = await answer(guarded, pod, "enforced")
        if f"{code}:" not in why and not _by_kubernetes_itself(why):
            differ[case] = why
    assert differ == {}


def _by_kubernetes_itself(why: str) -> bool:
    return "is invalid: " in why or "may not be" in why


async def test_only_enforced_namespaces_are_judged(guarded: KubeCluster) -> None:
    assert await answer(guarded, case_pod("plain_one_port"), "free") == ""
    await make_namespace(guarded, "kube-system", enforce="true")
    assert await answer(guarded, case_pod("plain_one_port"), "kube-system") == "", (
        "a label there must not stop it"
    )


async def test_a_pod_opts_out_only_with_images_that_its_namespace_lists(guarded: KubeCluster) -> None:
    pod = case_pod("plain_one_port")
    pod["metadata"]["labels"] = {names.INJECT: "false"}
    assert "opt_out_not_granted" in await answer(guarded, pod, "enforced")
    image = pod["spec"]["containers"][0]["image"].partition(":")[0]
    await _list(guarded, f"docker.io/library/busybox, {image}")
    async with asyncio.timeout(60):
        while await answer(guarded, pod, "enforced"):
            await asyncio.sleep(0.1)
    other = copy.deepcopy(pod)
    other["spec"]["initContainers"] = [{"name": "other", "image": "other:1"}]
    assert "opt_out_not_granted" in await answer(guarded, other, "enforced")
    await _list(guarded, None)
    async with asyncio.timeout(60):  # what judges the next test's pods has forgotten the list
        while not await answer(guarded, pod, "enforced"):
            await asyncio.sleep(0.1)


async def _list(cluster: KubeCluster, images: str | None) -> None:
    annotations = {names.OPT_OUT_IMAGES: images}
    await cluster.server.merge("/api/v1/namespaces/enforced", {"metadata": {"annotations": annotations}})


async def test_a_label_on_a_running_guarded_pod_does_not_open_it(guarded: KubeCluster) -> None:
    pod = injected()
    pod["metadata"].update(name="opened", namespace="enforced")
    await guarded.server.post("/api/v1/namespaces/enforced/pods", pod)
    path = "/api/v1/namespaces/enforced/pods/opened"
    await guarded.server.merge(path, {"metadata": {"labels": {names.INJECT: "false"}}})
    await guarded.server.merge(path, {"metadata": {"finalizers": ["bartizan.dev/test"]}})
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}}
    with pytest.raises(DependencyRefused, match="ephemeral_containers"):
        await guarded.server.merge(f"{path}/ephemeralcontainers", debug)
    await guarded.server.merge(path, {"metadata": {"finalizers": None}})
    guarded.kubectl("delete", "pod", "opened", "-n", "enforced", "--force", "--grace-period=0")
    with pytest.raises(NotFound):
        await guarded.server.get(path)
