"""What the fleet's reports prove over real mTLS: enforced, refused, put out, and what a restart remembers."""

from __future__ import annotations

import asyncio

from bartizan.api import IssueKey
from bartizan.errors import ResourceRejected
from bartizan.policy.canonical import plan_hash
from bartizan.policy.names import TYPE_BUNDLE
from bartizan.policy.signing import verify_bundle
from control_plane.fleet.status import policy_status
from protos.gen.bartizan.fleet.v1 import fleet_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from tests.support.push_stand import ACTOR, CHAT, Plane, Sidecar, document, settled, until


async def test_accepted_is_not_enforced_until_everything_is_proven(plane: Plane) -> None:
    sidecar = Sidecar(plane, "i-chat", CHAT)
    async with sidecar.running():
        await plane.policies.apply(document("chat"), ACTOR)
        await until(lambda: sidecar.client.accepted(TYPE_BUNDLE) == "prod/chat@1")
        (row,) = policy_status(plane.ledger, "prod/chat").instances
        assert (row.state, row.reason) == ("pending", "not_reported_yet")
        bundle = verify_bundle(
            policy_pb2.SignedBundle.FromString(sidecar.held["prod/chat"].value),
            await plane.signer.public_keys(),
        )
        state = {
            "policy": "prod/chat",
            "version": 1,
            "revision": 1,
            "plan_hash": plan_hash(bundle.plan),
            "workers": 1,
            "workers_loaded": 1,
            "envoy_acked": True,
        }
        assert (await sidecar.report(**state)).lease_seconds == 30
        (row,) = policy_status(plane.ledger, "prod/chat").instances
        assert (row.state, row.reason) == ("pending", "probe_missing")
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            waiting = group.create_task(settled(plane.ledger, "prod/chat", 1))
            await sidecar.report(**state, probe=fleet_pb2.Probe(good=True, trace_id="abc"))
        assert (waiting.result().summary, waiting.result().enforced) == ("1/1", True)
        await plane.keys.create_set("chat-set", ACTOR)
        issued = await plane.keys.issue("chat-set", IssueKey(tenant="acme"), ACTOR)
        sidecar.key_sets = {"chat-set": 2}
        await sidecar.report(**state, probe=fleet_pb2.Probe(good=True))
        assert policy_status(plane.ledger, "prod/chat").enforced
        await plane.keys.revoke("chat-set", issued.id, ACTOR)
        (row,) = policy_status(plane.ledger, "prod/chat").instances
        assert (row.state, row.reason) == ("pending", "key_set_behind")
        assert plane.ledger.key_set_users("chat-set") == {"i-chat": False}
        sidecar.key_sets = {"chat-set": 3}
        await sidecar.report(**state, probe=fleet_pb2.Probe(good=True))
        assert policy_status(plane.ledger, "prod/chat").enforced


async def test_a_refused_bundle_shows_its_reason_and_path(plane: Plane) -> None:
    sidecar = Sidecar(plane, "i-chat", CHAT)
    sidecar.refuse = {"prod/chat@2": ResourceRejected("no such file", "spec.listener.tls.cert")}
    async with sidecar.running():
        await plane.policies.apply(document("chat"), ACTOR)
        await until(lambda: sidecar.client.accepted(TYPE_BUNDLE) == "prod/chat@1")
        await sidecar.report(policy="prod/chat", version=1, revision=1)
        await plane.policies.apply(document("chat", "globex"), ACTOR)
        async with asyncio.timeout(60):
            status = await settled(plane.ledger, "prod/chat", 2)
    (row,) = status.instances
    assert (row.state, row.reason, row.path, row.version) == (
        "refused",
        "no such file",
        "spec.listener.tls.cert",
        1,
    )


async def test_a_removed_instance_is_put_out_and_stays_out(plane: Plane) -> None:
    await plane.policies.apply(document("chat"), ACTOR)
    sidecar = Sidecar(plane, "i-chat", CHAT)
    async with sidecar.running():
        await until(lambda: sidecar.client.connected)
        async with plane.store.begin() as work:
            await work.instances.remove("i-chat", at=2.0)
        await plane.publisher.instance_removed("i-chat")
        await until(lambda: len([s for s in sidecar.states if s.reason == "permission_denied"]) >= 2)
        assert policy_status(plane.ledger, "prod/chat").total == 0


async def test_a_restarted_control_plane_remembers_but_does_not_vouch(plane: Plane) -> None:
    await plane.policies.apply(document("chat"), ACTOR)
    sidecar = Sidecar(plane, "i-chat", CHAT)
    await sidecar.report(policy="prod/chat", version=1, revision=1)
    async with asyncio.timeout(60):
        while True:
            async with plane.store.begin() as work:
                if await work.instances.reports():
                    break
            await asyncio.sleep(0.01)
    async with Plane(plane.authority, plane.store, plane.signer).running() as second:
        status = policy_status(second.ledger, "prod/chat")
        assert [(row.instance_id, row.state, row.reason) for row in status.instances] == [
            ("i-chat", "pending", "not_reported_since_restart")
        ]
        sidecar.plane = second
        await sidecar.report(policy="prod/chat", version=1, revision=1)
        assert policy_status(second.ledger, "prod/chat").instances[0].reason == "envoy_not_acknowledged"
