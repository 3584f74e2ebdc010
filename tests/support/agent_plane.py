"""A control plane's outside for the agent's tests: attestation, ADS, heartbeat and audit over real TLS."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bartizan.identity import JoinToken, TrustDocument, new_secret
from bartizan.local.processes import free_port
from bartizan.policy.keyset import KeySet
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.policy.signing import LocalSigner
from bartizan.tls import CertificateSource, server_credentials, ssl_context
from bartizan.xds.server import SERVER_OPTIONS, AdsServer, PeerInfo
from bartizan.xds.snapshot import Publication, Resources, Snapshot, pack
from control_plane.identity.issuer import Issuer
from protos.gen.bartizan.audit.v1 import audit_pb2, audit_pb2_grpc
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2


class RootInMemory:
    """Signs the issuer's intermediate, as Vault's PKI would."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")])
        self._root = (
            self._build(name, self._key.public_key(), name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @staticmethod
    def _build(subject: x509.Name, key: Any, issuer: x509.Name) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=2))
        )

    async def pki_sign_intermediate(self, csr_pem: str, common_name: str, ttl_seconds: int) -> list[str]:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        builder = self._build(csr.subject, csr.public_key(), self._root.subject)
        for extension in csr.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        signed = builder.sign(self._key, hashes.SHA256())
        return [signed.public_bytes(serialization.Encoding.PEM).decode(), await self.pki_root_pem()]

    async def pki_root_pem(self) -> str:
        return self._root.public_bytes(serialization.Encoding.PEM).decode()


SPIFFE = "spiffe://test.example/ns/default/sa/tiny"


@dataclass
class Plane(identity_pb2_grpc.IdentityServicer, fleet_pb2_grpc.FleetServicer, audit_pb2_grpc.AuditServicer):
    """Attestation, ADS, heartbeat and audit over real TLS; what they say is kept here."""

    signer: LocalSigner
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("api", "grpc", "attest")}
    )
    source: CertificateSource = field(default_factory=CertificateSource)
    publication: Publication = field(default_factory=Publication)
    tokens: set[str] = field(default_factory=set)
    life: dt.timedelta = dt.timedelta(hours=1)
    reports: list[Any] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[str, str, str]] = field(default_factory=list)
    nodes: list[tuple[str, str | None]] = field(default_factory=list)
    renewals: int = 0
    behind: bool = False
    """Reports are refused as a replica does that can't follow the others; `sent_away` has the connections."""
    sent_away: list[str] = field(default_factory=list)
    _running: list[Any] = field(default_factory=list)

    async def prepare(self) -> None:
        self.issuer = Issuer(
            RootInMemory(),  # type: ignore[arg-type]
            trust_domain="test.example",
            hosts=(),
            source=self.source,
        )
        await self.issuer.start()
        self.trust = TrustDocument(
            trust_domain="test.example",
            roots=self.issuer.roots_pem,
            verification_keys={self.signer.key_id: base64.b64encode(self.signer.public_key).decode()},
        )

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/trust", self._trust)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(
            runner, "127.0.0.1", self.ports["api"], ssl_context=ssl_context(self.source)
        ).start()
        self._running.append(runner.cleanup)
        for name, mutual in (("attest", False), ("grpc", True)):
            server = grpc.aio.server(options=list(SERVER_OPTIONS))
            identity_pb2_grpc.add_IdentityServicer_to_server(self, server)
            if mutual:
                AdsServer(self._open).register(server, sds=False)
                fleet_pb2_grpc.add_FleetServicer_to_server(self, server)
                audit_pb2_grpc.add_AuditServicer_to_server(self, server)
            credentials = server_credentials(self.source, require_client=mutual)
            server.add_secure_port(f"127.0.0.1:{self.ports[name]}", credentials)
            await server.start()
            self._running.append(partial(server.stop, 0))

    async def stop(self) -> None:
        while self._running:
            await self._running.pop()()

    def new_token(self) -> str:
        secret = new_secret()
        self.tokens.add(secret)
        return JoinToken(
            secret=secret,
            api=f"https://127.0.0.1:{self.ports['api']}",
            grpc=f"127.0.0.1:{self.ports['grpc']}",
            attest=f"127.0.0.1:{self.ports['attest']}",
            trust=self.trust.digest(),
        ).encode()

    def send(
        self, bundle: policy_pb2.SignedBundle | None, keys: KeySet, secrets: dict[str, tuple[int, str]]
    ) -> None:
        version = msgspec.json.decode(bundle.payload)["version"] if bundle else 0
        messages = {
            name: secret_pb2.Secret(
                name=name,
                generic_secret=secret_pb2.GenericSecret(secret=base_pb2.DataSource(inline_string=value)),
            )
            for name, (_, value) in secrets.items()
        }
        self.publication.publish(
            Snapshot(
                {
                    TYPE_BUNDLE: Resources(
                        f"{bundle.name}@{version}" if bundle else "none",
                        {bundle.name: pack(bundle)} if bundle else {},
                    ),
                    TYPE_KEY_SET: Resources(
                        f"{keys.name}@{keys.version}", {keys.name: pack(self.issuer.sign_key_set(keys))}
                    ),
                    TYPE_SECRET: Resources(
                        ",".join(f"{name}@{generation}" for name, (generation, _) in secrets.items()),
                        {name: pack(message) for name, message in messages.items()},
                    ),
                }
            )
        )

    async def _trust(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.trust.encode())

    async def _open(self, peer: PeerInfo, node_id: str) -> Any:
        self.nodes.append((node_id, peer.spiffe_id))
        return PlaneSession(self)

    async def Attest(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.join_token not in self.tokens:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
        self.tokens.discard(request.join_token)
        return self._certificate(request.csr, "instance-1")

    async def Renew(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.renewals += 1
        return self._certificate(request.csr, request.instance_id)

    def _certificate(self, csr: bytes, instance_id: str) -> Any:
        issued = self.issuer.issue(csr, SPIFFE, self.life)
        made = identity_pb2.Certificate(
            spiffe_id=SPIFFE, instance_id=instance_id, chain=issued.chain, roots=issued.roots
        )
        made.ttl.FromMilliseconds(round(issued.ttl * 1000))
        return made

    async def Report(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.behind:
            self.sent_away.append(context.peer())
            await context.abort(grpc.StatusCode.UNAVAILABLE, "behind")
        self.reports.append(request)
        return fleet_pb2.ReportReply(lease_seconds=15)

    async def Upload(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.records += [msgspec.json.decode(record) for record in request.records]
        return audit_pb2.UploadReply(stored=len(request.records))

    async def recorded(self, predicate: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(3000):
            if found := [one for one in self.records if predicate(one)]:
                return found[0]
            await asyncio.sleep(0.02)
        raise AssertionError(f"no such record among {len(self.records)}")

    async def answered(self, kind: str) -> tuple[str, str, str]:
        """The first "ack" or "nack" since `answers` was cleared: kind, version, reason."""
        for _ in range(3000):
            if found := [one for one in self.answers if one[0] == kind]:
                return found[0]
            await asyncio.sleep(0.02)
        raise AssertionError(self.answers)

    async def reported(self, predicate: Callable[[Any], bool], within: float = 60.0) -> Any:
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self.reports and predicate(self.reports[-1]):
                return self.reports[-1]
            await asyncio.sleep(0.02)
        raise AssertionError(self.reports[-1] if self.reports else "no report")


@dataclass
class PlaneSession:
    plane: Plane

    @property
    def publication(self) -> Publication:
        return self.plane.publication

    def on_subscribe(self, type_url: str, names: frozenset[str]) -> frozenset[str]:
        return names

    def on_ack(self, type_url: str, version: str, nonce: str) -> None:
        self.plane.answers.append(("ack", version, ""))

    def on_nack(self, type_url: str, version: str, reason: str) -> None:
        self.plane.answers.append(("nack", version, reason))

    def closed(self) -> None:
        pass
