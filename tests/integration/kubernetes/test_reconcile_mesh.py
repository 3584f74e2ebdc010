"""MeshPolicy objects hold at the endpoints of the cluster, and their status counts those that have proven them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bartizan import tasks
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Instance, Observation
from control_plane.fleet.status import policy_status
from control_plane.kubernetes.api_server import connect
from control_plane.kubernetes.cluster_policies import ClusterPolicies
from control_plane.kubernetes.objects import MESH_PLURAL
from control_plane.kubernetes.reconcile import Reconciler
from control_plane.kubernetes.reconcile_mesh import MeshReconciler
from control_plane.policies.actor import Actor
from control_plane.policies.service import KeptElsewhere, Policies
from control_plane.push.publish import Publisher
from control_plane.store.sql.store import open_store
from tests.support.api_server_stand import (
    MESH_POLICIES,
    ApiServerStand,
    api_server_stand,
    policy_path,
    write_kubeconfig,
)
from tests.support.reconciling import SPEC, Signer, no_certificate

ADMIN = Actor(token_id="1", name="tester", role="admin")
MESH: dict[str, Any] = {"selector": {"namespaces": ["default"]}, "overrides": {"mode": "shadow"}}


@dataclass
class Running:
    cluster: ApiServerStand
    policies: Policies
    ledger: Ledger

    async def until(self, path: str, said: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(60):
                while True:
                    status = self.cluster.objects.get(path, {}).get("status", {})
                    if status and said(status):
                        return status
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the status stays {status}") from None

    async def mesh(self, summary: str, name: str = "base") -> dict[str, Any]:
        return await self.until(f"{MESH_POLICIES}/{name}", lambda status: status["summary"] == summary)

    async def policy(self, summary: str, name: str = "chat") -> dict[str, Any]:
        return await self.until(policy_path(name), lambda status: status["summary"] == summary)

    def prove(self) -> None:
        """As a heartbeat of a sidecar that enforces the newest version of default/chat says it."""
        wanted = self.ledger.wanted("default/chat")
        assert wanted is not None
        spiffe = "spiffe://t/ns/default/sa/chat"
        self.ledger.admit(
            Instance(instance_id="one", spiffe_id=spiffe, namespace="default", labels={"app": "chat"})
        )
        self.ledger.observe(
            "one",
            Observation(
                boot_id="b", sequence=wanted.version, ready=True, policy=wanted.policy, version=wanted.version,
                revision=wanted.revision, plan_hash=wanted.plan_hash, workers=1, workers_loaded=1,
                envoy_acked=True, probe_good=True, probe_at=1.0, sent_at=1.0,
            ),
        )  # fmt: skip


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    ledger = Ledger(lease=600)
    publisher = Publisher(store, ledger, no_certificate)
    policies = Policies(store, Signer(), publisher.policy_changed)
    async with api_server_stand() as cluster:
        kubeconfig = write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{cluster.port}")
        async with connect(str(kubeconfig)) as server, asyncio.TaskGroup() as group:
            one = Reconciler(
                ClusterPolicies(server),
                policies,
                proven=lambda name: policy_status(ledger, name),
                changed=ledger.changed,
                retry=0.05,
            )
            other = MeshReconciler(
                ClusterPolicies(server, MESH_PLURAL), policies.meshes, ledger, retry=0.05, relist=1.0
            )
            work = [tasks.start(group, each.run(), name="reconciler") for each in (one, other)]
            yield Running(cluster, policies, ledger)
            await tasks.cancel(*work)
    await store.close()


async def test_a_mesh_policy_is_enforced_when_all_its_endpoints_have_proven_it(running: Running) -> None:
    running.cluster.mesh("base", MESH)
    first = await running.mesh("NO ENDPOINT")
    assert {each["type"]: each["status"] for each in first["conditions"]} == {
        "Accepted": "True",
        "Published": "True",
        "Enforced": "False",
        "Warning": "False",
    }
    running.cluster.policy("chat", SPEC)
    await running.policy("NO SIDECAR")
    running.prove()
    whole = await running.mesh("ENFORCED 1/1")
    assert (whole["enforced"], whole["total"], whole["missing"]) == (1, 1, [])
    running.cluster.mesh("base", {**MESH, "overrides": {"tenants": ["other"]}})
    partly = await running.mesh("PENDING 0/1")
    assert [each["instance"] for each in partly["missing"]] == ["default/chat"]
    running.prove()
    await running.mesh("ENFORCED 1/1")


async def test_a_policy_that_waits_for_a_default_is_taken_when_it_comes(running: Running) -> None:
    running.cluster.policy("chat", {name: value for name, value in SPEC.items() if name != "authn"})
    status = await running.policy("INVALID")
    assert [(each["path"], each["code"]) for each in status["problems"]] == [("spec.authn", "missing_field")]
    running.cluster.mesh("base", {"selector": {}, "defaults": {"authn": {"apiKeys": {"set": "org"}}}})
    await running.policy("NO SIDECAR")
    effective = await running.policies.effective("default/chat")
    assert effective.document["spec"]["authn"] == {"apiKeys": {"set": "org"}}


async def test_a_mesh_policy_that_an_endpoint_cannot_take_says_so_and_is_taken_when_it_can(
    running: Running,
) -> None:
    running.cluster.policy("chat", SPEC)
    await running.policy("NO SIDECAR")
    running.cluster.mesh("base", {"selector": {}, "overrides": {"input": [{"pii": {}}]}})
    status = await running.mesh("INVALID")
    (problem,) = status["problems"]
    assert problem["document"] == "MeshPolicy base"
    assert problem["path"] == "spec.overrides.input[0].pii"
    assert problem["message"].endswith("(at endpoint default/chat)")
    running.cluster.delete(policy_path("chat"))
    await running.mesh("NO ENDPOINT")


async def test_a_deleted_object_holds_on_while_an_endpoint_needs_its_defaults(running: Running) -> None:
    running.cluster.mesh("base", {"selector": {}, "defaults": {"authn": {"apiKeys": {"set": "org"}}}})
    await running.mesh("NO ENDPOINT")
    running.cluster.policy("chat", {name: value for name, value in SPEC.items() if name != "authn"})
    await running.policy("NO SIDECAR")
    running.cluster.delete(f"{MESH_POLICIES}/base")
    running.cluster.policy("other", {**SPEC, "selector": {"matchLabels": {"app": "other"}}})
    await running.policy("NO SIDECAR", "other")
    assert [state.row.name for state in await running.policies.meshes.states()] == ["base"]
    running.cluster.policy("chat", {**SPEC, "tenants": ["later"]})  # complete alone: the next listing lets go
    async with asyncio.timeout(60):
        while await running.policies.meshes.states():
            running.cluster.forget_history()
            await asyncio.sleep(0.1)
    assert (await running.policies.effective("default/chat")).policy.spec.tenants == ("later",)


async def test_an_object_is_read_only_in_the_api_and_two_of_one_priority_are_told(running: Running) -> None:
    running.cluster.mesh("base", MESH)
    await running.mesh("NO ENDPOINT")
    with pytest.raises(KeptElsewhere, match="change the MeshPolicy object"):
        await running.policies.meshes.delete("base", ADMIN)
    running.cluster.mesh("other", MESH)
    status = await running.mesh("REFUSED", "other")
    assert [(each["path"], each["code"]) for each in status["problems"]] == [
        ("spec.priority", "policy_conflict")
    ]
    running.cluster.mesh("other", {**MESH, "priority": 1})
    await running.mesh("NO ENDPOINT", "other")


async def test_what_an_override_loosens_is_a_condition_of_both_objects_and_stays_one(
    running: Running,
) -> None:
    running.cluster.policy("chat", SPEC)
    await running.policy("NO SIDECAR")
    running.prove()
    running.cluster.mesh("base", {**MESH, "overrides": {"mode": "shadow"}})

    def warning(status: dict[str, Any]) -> tuple[str, str, str]:
        (found,) = (each for each in status["conditions"] if each["type"] == "Warning")
        return found["status"], found["reason"], found["message"]

    shadow = "nothing is blocked any more: enforce -> shadow"
    over = await running.until(f"{MESH_POLICIES}/base", lambda status: warning(status)[0] == "True")
    assert warning(over) == (
        "True",
        "LoosenedByOverride",
        f"spec.overrides.mode: {shadow} (at endpoint default/chat)",
    )
    running.cluster.policy("chat", {**SPEC, "tenants": ["other"]})
    under = await running.until(policy_path("chat"), lambda status: warning(status)[0] == "True")
    assert warning(under)[2] == f"MeshPolicy base, spec.overrides.mode: {shadow}"
