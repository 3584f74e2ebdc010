"""The roles of deploy/k8s allow every request that our code makes, and nothing that it never makes."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bartizan.errors import NotFound
from control_plane.injector import names
from control_plane.injector.authority import own_material
from control_plane.injector.cluster import ClusterPolicies as Guards
from control_plane.injector.cluster import GuardedPods, Namespaces
from control_plane.injector.upkeep import CONFIGURATIONS, Upkeep
from control_plane.injector.webhook_configuration import webhook_configurations
from control_plane.kubernetes.api_server import ApiServer, connect
from control_plane.kubernetes.attestation import ReviewedTokens, pod_object
from control_plane.kubernetes.cluster_policies import ClusterPolicies
from control_plane.kubernetes.election import Election
from tests.support.api_server_stand import (
    ApiServerStand,
    Asked,
    api_server_stand,
    is_collection,
    pod_path,
    write_kubeconfig,
)
from tests.support.pod_cases import case_config

ROOT = Path(__file__).parents[3]
CONFIG = case_config("plain_one_port")
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
Right = tuple[str, str, str, str]
"""Verb, group, resource, name ("" for any)."""


def rights(*roles: str) -> set[Right]:
    """What roles of the shipped manifests allow, one by one."""
    documents = [
        each
        for file in ("rbac.yaml", "injector.yaml")
        for each in yaml.safe_load_all((ROOT / "deploy/k8s/base" / file).read_text())
        if each["kind"] in {"Role", "ClusterRole"} and each["metadata"]["name"] in roles
    ]
    assert len(documents) == len(roles)
    return {
        (verb, group, resource, name)
        for each in documents
        for rule in each["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def needed(asked: Iterable[Asked]) -> set[Right]:
    """As RBAC reads a request."""
    found = set()
    for each in asked:
        parts = each.path.strip("/").split("/")
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        if rest[0] == "namespaces" and len(rest) > 2:
            rest = rest[2:]
        resource = "/".join([rest[0], *rest[2:]])
        collection = is_collection(each.path)
        verb = _VERBS[each.method]
        if verb == "get" and collection:
            verb = "watch" if each.watch else "list"
        found.add((verb, group, resource, "" if collection else rest[1]))
    return found


def allowed(right: Right, given: set[Right]) -> bool:
    return right in given or (*right[:3], "") in given


@dataclass
class Cluster:
    stand: ApiServerStand
    server: ApiServer

    def check(self, *roles: str) -> None:
        asked, given = needed(self.stand.asked), rights(*roles)
        assert [each for each in asked if not allowed(each, given)] == [], "refused by the API server"
        used = {right for right in given if any(allowed(each, {right}) for each in asked)}
        assert given - used == set(), "allowed, but never needed"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api_server_stand() as stand:
        kubeconfig = write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{stand.port}")
        async with connect(str(kubeconfig)) as server:
            labels = {names.INJECTION: "enabled"}
            stand.put("/api/v1/namespaces/prod", {"metadata": {"name": "prod", "labels": labels}})
            yield Cluster(stand, server)


async def _trust() -> bytes:
    return b"{}"


async def test_the_injectors_role_is_what_it_needs_and_no_more(cluster: Cluster) -> None:
    for path, document in zip(CONFIGURATIONS, webhook_configurations(CONFIG, "x"), strict=True):
        cluster.stand.put(path, document)
    material = own_material(("x",), dt.datetime.now(dt.UTC))
    await Upkeep(cluster.server, CONFIG, lambda: material.roots_pem, None).look()
    assert (await Namespaces(cluster.server)("prod")).injection
    await Guards(cluster.server)("prod")
    await GuardedPods(cluster.server)("prod")
    cluster.check("bartizan-injector")


async def test_the_control_planes_roles_are_what_it_needs_and_no_more(cluster: Cluster) -> None:
    cluster.stand.policy("chat", {})
    cluster.stand.mesh("baseline", {})
    for objects in (ClusterPolicies(cluster.server), ClusterPolicies(cluster.server, "meshpolicies")):
        (one,), version = await objects.list()
        watching = objects.watch(str(int(version) - 1))
        await objects.put_status(one, {"summary": "PENDING"})
        async for _ in watching:
            break
        await watching.aclose()  # type: ignore[attr-defined]

    cluster.stand.put(pod_path("chat-0", "prod"), {"metadata": {"name": "chat-0", "uid": "u"}})
    user = {
        "username": "system:serviceaccount:prod:default",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["chat-0"],
            "authentication.kubernetes.io/pod-uid": ["u"],
        },
    }
    cluster.stand.reviews["t"] = {"authenticated": True, "audiences": ["bartizan"], "user": user}
    cluster.stand.objects[pod_path("chat-0", "prod")]["spec"] = {"serviceAccountName": "default"}
    await ReviewedTokens(cluster.server).pod("t")
    assert await pod_object(cluster.server, "prod", "gone") is None

    upkeep = Upkeep(cluster.server, CONFIG, None, _trust)
    await upkeep.look()
    path = f"/api/v1/namespaces/prod/configmaps/{names.TRUST_CONFIG_MAP}"
    cluster.stand.put(path, {**cluster.stand.objects[path], "data": {}})
    await upkeep.look()

    election = Election(cluster.server, namespace="bartizan-system", me="one")
    assert await election._claim()
    assert await election._claim()
    cluster.check("bartizan", "bartizan-lease")


async def test_a_namespaces_name_can_lead_to_no_other_path(cluster: Cluster) -> None:
    """Names come from certificates, events and requests: whatever is in one stays one part of the path."""
    evil = "prod/../../kube-system?x"
    calls: list[Any] = [
        Namespaces(cluster.server)(evil),
        Guards(cluster.server)(evil),
        GuardedPods(cluster.server)(evil),
        pod_object(cluster.server, evil, "p"),
    ]
    for call in calls:
        with contextlib.suppress(NotFound):
            await call
    cluster.stand.policy("chat", {}, evil)
    (one,), _ = await ClusterPolicies(cluster.server).list()
    await ClusterPolicies(cluster.server).put_status(one, {"summary": "PENDING"})
    paths = [each.raw for each in cluster.stand.asked if "/namespaces/" in each.raw]
    assert len(paths) == 5
    for path in paths:
        assert "/namespaces/prod%2F..%2F..%2Fkube-system%3Fx" in path
