"""A sidecar that can't enforce a policy whole keeps the one that it enforces, and revocations reach it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest

from bartizan.api import IssueKey
from bartizan.errors import ResourceRejected
from bartizan.policy.capabilities import SUPPORTED
from bartizan.policy.keyset import KeySet
from control_plane.fleet.status import policy_status
from control_plane.policies.keys import Keys
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.bartizan.identity.v1 import identity_pb2
from tests.support.push_stand import ACTOR, CHAT, Plane, Sidecar, document, until


async def test_a_bundle_that_a_sidecar_cannot_enforce_whole_is_withheld(plane: Plane) -> None:
    sidecar = Sidecar(plane, "i-chat", CHAT)
    message = fleet_pb2.InstanceReport(
        instance_id="i-chat", boot_id="boot", sequence=1, capabilities=["format.opaque"]
    )
    async with sidecar.running(), plane.channel(CHAT) as channel:
        await until(lambda: sidecar.client.connected)
        await fleet_pb2_grpc.FleetStub(channel).Report(message)
        plane.publisher.put_secret("chat-key", 1, "first")
        await plane.policies.apply(document("chat"), ACTOR)
        await until(lambda: "chat-key" in sidecar.held)
        (row,) = policy_status(plane.ledger, "prod/chat").instances
        assert row.state == "pending"
        assert row.reason.startswith("incapable: ")
        assert [got for got in sidecar.got if got[0] == "SignedBundle"] == [("SignedBundle", "none", [])]
        assert policy_status(plane.ledger, "prod/chat").settled, "nobody waits for a release to be installed"
        await sidecar.report()  # same boot and sequence: ignored
        await sidecar.report()
        await until(lambda: "prod/chat" in sidecar.held)


async def test_an_incapable_sidecar_keeps_the_policy_that_it_enforces(plane: Plane) -> None:
    await plane.policies.apply(document("chat"), ACTOR)
    sidecar = Sidecar(plane, "i-chat", CHAT)
    sidecar.capabilities = SUPPORTED - {"limits.requests"}
    async with sidecar.running():
        await until(lambda: "prod/chat" in sidecar.held)
        await sidecar.report(policy="prod/chat", version=1, revision=1)
        more = document("chat") + b"  limits: {requests: [{per: key, rate: 5/s}]}\n"
        await plane.policies.apply(more, ACTOR)
        plane.publisher.put_secret("chat-key", 1, "first")
        await until(lambda: "chat-key" in sidecar.held)
        for again in range(2):  # also on a new stream
            (row,) = policy_status(plane.ledger, "prod/chat").instances
            assert (row.state, row.reason, row.version) == ("pending", "incapable: limits.requests", 1)
            if not again:
                before = len(sidecar.states)
                sidecar.client.reconnect()
                await until(lambda: len(sidecar.states) > before and sidecar.client.connected)  # noqa: B023
        assert [got[1] for got in sidecar.got if got[0] == "SignedBundle"] == ["prod/chat@1"]
        await plane.policies.undo("prod/chat", ACTOR)
        await until(lambda: ("SignedBundle", "prod/chat@3", ["prod/chat"]) in sidecar.got)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_revocation_reaches_a_sidecar_that_still_enforces_an_older_policy(
    plane: Plane, restarted: bool
) -> None:
    key_sets = Keys(plane.store, plane.publisher.key_set_changed)
    await key_sets.create_set("chat-set", ACTOR)
    issued = await key_sets.issue("chat-set", IssueKey(tenant="acme"), ACTOR)
    await plane.policies.apply(document("chat"), ACTOR)
    sidecar = Sidecar(plane, "i-chat", CHAT)
    sidecar.refuse["prod/chat@2"] = ResourceRejected("file_missing")
    async with AsyncExitStack() as stack:
        async with sidecar.running():
            await until(lambda: "chat-set" in sidecar.held)
            await sidecar.report(policy="prod/chat", version=1, revision=1)
            await plane.policies.apply(document("chat").replace(b"chat-set", b"new-set"), ACTOR)
            await until(lambda: ("SignedBundle", "prod/chat@2", ["prod/chat"]) in sidecar.got)
            if not restarted:
                await key_sets.revoke("chat-set", issued.id, ACTOR)
                await until(lambda: _revoked(sidecar))
                return
            async with asyncio.timeout(60):
                while not await _reported(plane):
                    await asyncio.sleep(0.01)
        second = await stack.enter_async_context(Plane(plane.authority, plane.store, plane.signer).running())
        back = Sidecar(second, "i-chat", CHAT)
        back.refuse = sidecar.refuse
        async with back.running():
            await until(lambda: "chat-set" in back.held)
            await Keys(plane.store, second.publisher.key_set_changed).revoke("chat-set", issued.id, ACTOR)
            await until(lambda: _revoked(back))


def _revoked(sidecar: Sidecar) -> bool:
    held = identity_pb2.KeySet.FromString(sidecar.held["chat-set"].value)
    return any(key.revoked for key in msgspec.json.decode(held.payload, type=KeySet).keys)


async def _reported(plane: Plane) -> bool:
    async with plane.store.begin() as work:
        return bool(await work.instances.reports())
