"""The push and fleet half of a control plane over real mTLS on loopback, and sidecars that only subscribe and report."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.api import PolicyStatus
from bartizan.errors import ResourceRejected
from bartizan.identity import control_plane_id
from bartizan.policy.canonical import canonical
from bartizan.policy.capabilities import SUPPORTED
from bartizan.policy.keyset import KeySet
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.tls import CertificateSource, KeyMaterial, channel_credentials, server_credentials
from bartizan.xds.client import KEEPALIVE, AdsClient, BackOff, ConnectionState
from control_plane.audit.refusals import RefusalLog
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.service import FleetService
from control_plane.fleet.status import policy_status
from control_plane.identity import x509_profiles as profiles
from control_plane.policies.actor import Actor
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.push.follow import follow
from control_plane.push.publish import Publisher
from control_plane.push.service import PushService
from control_plane.push.sign import FileSigner
from control_plane.sidecar_ports import mtls_server
from control_plane.store.base import InstanceRow
from control_plane.store.sql.store import SqlStore, open_store
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.bartizan.identity.v1 import identity_pb2

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
        server = mtls_server()
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
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def push_stand(folder: Path) -> AsyncIterator[Plane]:
    """A plane that has attested one sidecar of CHAT and one of OTHER."""
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(pem)
    store = await open_store()
    made = Plane(Authority(), store, FileSigner(folder / "key.pem"))
    await made.attest("i-chat", CHAT, "chat")
    await made.attest("i-other", OTHER, "other")
    async with made.running():
        yield made
    await store.close()
