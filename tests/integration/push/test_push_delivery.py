"""Who is sent what over real mTLS: what a sidecar's policy names, only what changed, and nothing of somebody else's."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from bartizan.api import IssueKey
from bartizan.policy.names import TYPE_BUNDLE, TYPE_SECRET
from bartizan.policy.signing import verify_bundle
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from tests.support.push_stand import ACTOR, CHAT, OTHER, Plane, Sidecar, document, until


async def test_a_sidecar_gets_what_its_policy_names_and_then_only_what_changed(plane: Plane) -> None:
    await plane.keys.create_set("chat-set", ACTOR)
    plane.publisher.put_secret("chat-key", 1, "first")
    async with Sidecar(plane, "i-chat", CHAT).running() as sidecar:
        await until(lambda: sidecar.got == [("SignedBundle", "none", [])])
        sidecar.got.clear()
        await plane.policies.apply(document("other"), ACTOR)
        await plane.policies.apply(document("chat"), ACTOR)
        await until(lambda: len(sidecar.got) == 3)
        assert sorted(sidecar.got) == [
            ("KeySet", "chat-set@1", ["chat-set"]),
            ("Secret", "chat-key@1", ["chat-key"]),
            ("SignedBundle", "prod/chat@1", ["prod/chat"]),
        ]
        bundle = verify_bundle(
            policy_pb2.SignedBundle.FromString(sidecar.held["prod/chat"].value),
            await plane.signer.public_keys(),
        )
        assert (bundle.policy, bundle.version) == ("prod/chat", 1)
        secret = secret_pb2.Secret.FromString(sidecar.held["chat-key"].value)
        assert secret.generic_secret.secret.inline_string == "Bearer first"

        for change, expected in (
            (
                plane.keys.issue("chat-set", IssueKey(tenant="acme"), ACTOR),
                ("KeySet", "chat-set@2", ["chat-set"]),
            ),
            (
                plane.policies.apply(document("chat", "globex"), ACTOR),
                ("SignedBundle", "prod/chat@2", ["prod/chat"]),
            ),
            (plane.policies.undo("prod/chat", ACTOR), ("SignedBundle", "prod/chat@3", ["prod/chat"])),
            (plane.policies.delete("prod/chat", ACTOR), ("SignedBundle", "none", [])),
        ):
            sidecar.got.clear()
            await change
            await until(lambda: len(sidecar.got) > 0)
            assert sidecar.got == [expected]


async def test_a_new_generation_of_a_secret_reaches_only_those_who_use_it(plane: Plane) -> None:
    await plane.policies.apply(document("chat"), ACTOR)
    plane.publisher.put_secret("chat-key", 1, "first")
    assert plane.publisher.entitled_to_secret("chat-key") == ("i-chat",)
    async with (
        Sidecar(plane, "i-chat", CHAT).running() as sidecar,
        Sidecar(plane, "i-other", OTHER).running() as other,
    ):
        await until(lambda: "chat-key" in sidecar.held and len(other.got) == 1)
        users = plane.ledger.secret_users("chat-key", plane.publisher.entitled_to_secret("chat-key"))
        assert users["i-chat"].version == "", "it was sent the key, so it counts before it reports"
        plane.publisher.put_secret("chat-key", 2, "second")
        await until(lambda: sidecar.got[-1] == ("Secret", "chat-key@2", ["chat-key"]))
        assert other.got == [("SignedBundle", "none", [])]


async def test_foreign_names_are_refused_and_recorded(plane: Plane) -> None:
    await plane.policies.apply(document("chat"), ACTOR)
    await plane.policies.apply(document("other"), ACTOR)
    plane.publisher.put_secret("chat-key", 1, "first")
    thief = Sidecar(plane, "i-other", OTHER)
    wanted = frozenset({"prod/chat", "prod/other"})
    async with thief.running((TYPE_BUNDLE, wanted), (TYPE_SECRET, frozenset({"chat-key"}))):
        await until(lambda: len(thief.got) == 1)
        assert thief.got == [("SignedBundle", "prod/other@1", ["prod/other"])]
        async with asyncio.timeout(60):
            while True:
                async with plane.store.begin() as work:
                    events = [e for e in await work.events.recent() if e.act == "subscription.refuse"]
                if len(events) == 2:
                    break
                await asyncio.sleep(0.01)
    assert {(e.actor, e.target, str(e.detail["names"])) for e in events} == {
        (OTHER, "i-other", "['prod/chat']"),
        (OTHER, "i-other", "['chat-key']"),
    }


@pytest.mark.parametrize(("instance_id", "spiffe_id"), [("i-chat", OTHER), ("unknown", OTHER), ("", CHAT)])
async def test_an_instance_of_somebody_else_gets_nothing(
    plane: Plane, instance_id: str, spiffe_id: str
) -> None:
    await plane.policies.apply(document("chat"), ACTOR)
    sidecar = Sidecar(plane, instance_id, spiffe_id)
    async with sidecar.running():
        await until(lambda: len(sidecar.states) >= 1)
        assert (sidecar.got, sidecar.states[0].reason) == ([], "permission_denied")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sidecar.report()
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_without_a_client_certificate_there_is_no_connection(plane: Plane) -> None:
    credentials = grpc.ssl_channel_credentials(plane.authority.material(CHAT).roots_pem)
    async with grpc.aio.secure_channel(f"127.0.0.1:{plane.port}", credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fleet_pb2_grpc.FleetStub(channel).Report(fleet_pb2.InstanceReport(instance_id="i-chat"))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
