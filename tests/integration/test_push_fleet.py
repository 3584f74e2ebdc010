"""Sidecars over real mTLS against the push and fleet services: who gets what, what is proven, what a restart remembers."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.api import IssueKey, PolicyStatus
from bartizan.errors import ResourceRejected
from bartizan.identity import control_plane_id
from bartizan.policy.canonical import canonical, plan_hash
from bartizan.policy.capabilities import SUPPORTED
from bartizan.policy.keyset import KeySet
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.policy.signing import verify_bundle
from bartizan.tls import CertificateSource, KeyMaterial, channel_credentials, server_credentials
from bartizan.xds.client import KEEPALIVE, AdsClient, BackOff, ConnectionState
from bartizan.xds.server import SERVER_OPTIONS
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.service import FleetService
from control_plane.fleet.status import policy_status
from control_plane.identity import x509_profiles as profiles
from control_plane.policies.actor import Actor
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.push.follow import follow
from control_plane.push.publish import Publisher
from control_plane.push.refusals import RefusalLog
from control_plane.push.service import PushService
from control_plane.push.sign import FileSigner
from control_plane.store.base import InstanceRow
from control_plane.store.sql.store import SqlStore, open_store
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.bartizan.identity.v1 import identity_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2

ACTOR = Actor(token_id="t", name="tester", role="admin")
CHAT, OTHER = "spiffe://test/ns/prod/sa/chat", "spiffe://test/ns/prod/sa/other"

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {{name: {name}, namespace: prod}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  listener: {{port: 8443, tls: none}}
  model: {{name: m, protocol: openai, port: 8000, credential: {{secret: {name}-key, prefix: "Bearer "}}}}
  tenants: [{tenant}]
  authn: {{apiKeys: {{set: {name}-set}}}}
"""


def document(name: str, tenant: str = "acme") -> bytes:
    return POLICY.format(name=name, tenant=tenant).encode()


class Authority:
    """A root that signs leaves directly."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")])
        now = dt.datetime.now(dt.UTC)
        self._root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def material(self, uri: str) -> KeyMaterial:
        key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
        leaf = profiles.leaf(
            key=key.public_key(),
            uri=uri,
            hosts=("localhost", "127.0.0.1"),
            issuer=self._root,
            issuer_key=self._key,
            now=now,
            until=now + dt.timedelta(minutes=30),
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return KeyMaterial(
            key_pem=private, chain_pem=leaf.public_bytes(pem), roots_pem=self._root.public_bytes(pem)
        )


def unsigned(key_set: KeySet) -> identity_pb2.KeySet:
    """Signing key sets is the issuer's affair and tested there."""
    return identity_pb2.KeySet(name=key_set.name, payload=canonical(key_set))


class Plane:
    """The push and fleet half of a control plane on loopback."""

    def __init__(self, authority: Authority, store: SqlStore, signer: FileSigner) -> None:
        self.authority = authority
        self.store = store
        self.signer = signer
        self.ledger = Ledger()
        self.publisher = Publisher(store, self.ledger, unsigned)
        self.refusals = RefusalLog(store)
        self.push = PushService(self.publisher, self.ledger, self.refusals.record)
        self.fleet = FleetService(self.ledger, store)
        self.policies = Policies(store, signer, self.publisher.policy_changed)
        self.keys = Keys(store, self.publisher.key_set_changed)
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Plane]:
        await self.fleet.load()
        await self.publisher.start()
        source = CertificateSource(self.authority.material(control_plane_id("test")))
        server = grpc.aio.server(options=SERVER_OPTIONS)
        self.push.register(server)
        self.fleet.register(server)
        self.port = server.add_secure_port("127.0.0.1:0", server_credentials(source, require_client=True))
        await server.start()
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(work)
                for work in (
                    self.ledger.run(),
                    self.fleet.run(),
                    self.publisher.run(),
                    follow(self.ledger, self.publisher),
                    self.refusals.run(),
                )
            ]
            try:
                yield self
            finally:
                await server.stop(None)
                for helper in helpers:
                    helper.cancel()

    def channel(self, spiffe_id: str) -> grpc.aio.Channel:
        credentials = channel_credentials(self.authority.material(spiffe_id))
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=KEEPALIVE)

    async def attest(self, instance_id: str, spiffe_id: str, app: str) -> None:
        row = InstanceRow(
            instance_id=instance_id,
            spiffe_id=spiffe_id,
            namespace="prod",
            labels={"app": app},
            created_at=1.0,
        )
        async with self.store.begin() as work:
            await work.instances.add(row)


class Sidecar:
    """An agent's subscriptions and heartbeats, without what an agent does with them."""

    def __init__(self, plane: Plane, instance_id: str, spiffe_id: str) -> None:
        self.plane, self.instance_id, self.spiffe_id = plane, instance_id, spiffe_id
        self.got: list[tuple[str, str, list[str]]] = []
        self.held: dict[str, AnyMessage] = {}
        self.states: list[ConnectionState] = []
        self.refuse: dict[str, ResourceRejected] = {}
        self.sequence = 0
        self.capabilities = SUPPORTED
        self.key_sets: dict[str, int] = {}
        self.client = AdsClient(
            lambda: plane.channel(spiffe_id),
            instance_id,
            self._take,
            on_state=self.states.append,
            backoff=BackOff(base=0.02, cap=0.1),
        )

    async def _take(self, type_url: str, version: str, items: Mapping[str, AnyMessage]) -> None:
        self.got.append((type_url.rpartition(".")[2], version, sorted(items)))
        if version in self.refuse:
            raise self.refuse[version]
        self.held.update(items)

    @asynccontextmanager
    async def running(self, *types: tuple[str, frozenset[str]]) -> AsyncIterator[Sidecar]:
        for type_url, names in types or [
            (t, frozenset({"*"})) for t in (TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET)
        ]:
            self.client.subscribe(type_url, names)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.client.run())
            try:
                yield self
            finally:
                task.cancel()

    async def report(self, **policy: object) -> fleet_pb2.ReportReply:
        self.sequence += 1
        message = fleet_pb2.InstanceReport(
            instance_id=self.instance_id,
            boot_id="boot",
            sequence=self.sequence,
            capabilities=sorted(self.capabilities),
            ready=True,
            key_set_versions=self.key_sets,
        )
        message.policy.CopyFrom(fleet_pb2.PolicyState(**policy))  # type: ignore[arg-type]
        async with self.plane.channel(self.spiffe_id) as channel:
            return await fleet_pb2_grpc.FleetStub(channel).Report(message)


async def settled(ledger: Ledger, name: str, version: int) -> PolicyStatus:
    """Wait until no sidecar is pending under this version or a newer one."""
    while True:
        generation = ledger.generation
        status = policy_status(ledger, name)
        if status.version >= version and status.settled:
            return status
        await ledger.changed(generation)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    store = await open_store()
    made = Plane(Authority(), store, FileSigner(tmp_path / "key.pem"))
    await made.attest("i-chat", CHAT, "chat")
    await made.attest("i-other", OTHER, "other")
    async with made.running():
        yield made
    await store.close()


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
        async with asyncio.timeout(20):
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
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
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
        async with asyncio.timeout(20):
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
    async with asyncio.timeout(20):
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
            async with asyncio.timeout(20):
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
