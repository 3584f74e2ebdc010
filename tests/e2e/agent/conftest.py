"""Stands for the agent's end-to-end tests: the real agent as a process, real Envoy, a tiny model."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import os
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from bartizan.identity import JoinToken, TrustDocument, new_secret
from bartizan.local.binaries import find_binary
from bartizan.local.processes import Child, free_port, start
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.policy.signing import LocalSigner, canonical
from bartizan.policy.validate import validate_document
from bartizan.tls import CertificateSource, server_credentials, ssl_context
from bartizan.xds.server import SERVER_OPTIONS, AdsServer, PeerInfo
from bartizan.xds.snapshot import Publication, Resources, Snapshot, pack
from control_plane.compile.bundle import compile_bundle
from control_plane.identity.issuer import Issuer
from protos.gen.bartizan.audit.v1 import audit_pb2, audit_pb2_grpc
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2


def signing_key() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _signer() -> LocalSigner:
    return LocalSigner(signing_key())


@dataclass
class Local:
    """One agent in local mode, its model and its files."""

    folder: Path
    model_port: int
    signer: LocalSigner = field(default_factory=_signer)
    key: str = field(default_factory=new_key)
    port: int = field(default_factory=free_port)
    health: int = field(default_factory=free_port)
    reached: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    child: Child | None = None
    ca: trustme.CA = field(default_factory=trustme.CA)

    new_signing_key = staticmethod(signing_key)

    def listener(self) -> dict[str, Any]:
        return {
            "address": "127.0.0.1",
            "port": self.port,
            "tls": {"cert": "file:tls.crt", "key": "file:tls.key"},
        }

    def policy(self, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "bartizan.dev/v1alpha1",
            "kind": "ModelPolicy",
            "metadata": {"name": "tiny"},
            "spec": {
                "selector": {"matchLabels": {"app": "tiny"}},
                "listener": self.listener(),
                "model": {"name": "tiny", "protocol": "json_fields", "port": self.model_port},
                "routes": [{"path": "/predict", "inputText": ["$.text"]}],
                "tenants": ["acme"],
                "authn": {"apiKeys": {"set": "tiny"}},
                **spec,
            },
        }

    def signed(
        self, version: int, document: dict[str, Any] | None = None, signer: LocalSigner | None = None
    ) -> policy_pb2.SignedBundle:
        bundle = compile_bundle(
            validate_document(document or self.policy()),
            revision=1,
            version=version,
            issued_at="2026-01-01T00:00:00Z",
        )
        payload = canonical(bundle)
        signer = signer or self.signer
        return policy_pb2.SignedBundle(
            name=bundle.policy, payload=payload, key_id=signer.key_id, signature=signer.sign(payload)
        )

    def publish(
        self, version: int, document: dict[str, Any] | None = None, signer: LocalSigner | None = None
    ) -> None:
        message = self.signed(version, document, signer)
        temporary = self.folder / "bundle.new"
        temporary.write_bytes(message.SerializeToString())
        temporary.replace(self.folder / "bundle.pb")

    def write_certificate(self) -> None:
        issued = self.ca.issue_cert("localhost", "127.0.0.1")
        certificates = self.folder / "certs"
        certificates.mkdir(exist_ok=True)
        issued.private_key_pem.write_to_path(certificates / "tls.key")
        issued.cert_chain_pems[0].write_to_path(certificates / "tls.crt")

    def keys(self, version: int, *, revoked: bool = False) -> KeySet:
        record = KeyRecord(id="k1", hash=key_hash(self.key), tenant="acme", revoked=revoked)
        return KeySet(name="tiny", version=version, keys=(record,))

    def write_files(self) -> None:
        self.write_certificate()
        keys = self.keys(1)
        (self.folder / "keys.json").write_bytes(msgspec.json.encode(keys))
        trust = TrustDocument(
            trust_domain="test.example",
            roots=(),
            verification_keys={self.signer.key_id: base64.b64encode(self.signer.public_key).decode()},
        )
        (self.folder / "trust.json").write_bytes(trust.encode())
        self.publish(1)

    async def start(self, token: str = "", **extra: str) -> None:
        if token:
            (self.folder / "join-token").write_text(token)
            (self.folder / "seal-key").write_text("0123456789abcdef" * 4)
            source = {
                "BARTIZAN_JOIN_TOKEN_FILE": str(self.folder / "join-token"),
                "BARTIZAN_SEAL_KEY_FILE": str(self.folder / "seal-key"),
            }
        else:
            source = {
                "BARTIZAN_TRUST_FILE": str(self.folder / "trust.json"),
                "BARTIZAN_BUNDLE_FILE": str(self.folder / "bundle.pb"),
                "BARTIZAN_KEYSET_FILE": str(self.folder / "keys.json"),
            }
        self.child = await start(
            "agent",
            [sys.executable, "-m", "sidecar"],
            log=self.folder / "agent.log",
            env={
                "BARTIZAN_RUN_DIR": str(self.folder / "run"),
                "BARTIZAN_STATE_DIR": str(self.folder / "state"),
                "BARTIZAN_CERT_DIR": str(self.folder / "certs"),
                "BARTIZAN_ENVOY": str(find_binary("envoy")),
                "BARTIZAN_HEALTH_LISTEN": f"127.0.0.1:{self.health}",
                "BARTIZAN_DRAIN_SECONDS": "1",
                **source,
                **extra,
            },
            cwd=Path(__file__).parents[3],
        )

    async def status(self) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.health}/status") as response,
        ):
            found: dict[str, Any] = await response.json()
            return found

    async def until(
        self, predicate: Callable[[dict[str, Any]], bool], within: float = 60.0
    ) -> dict[str, Any]:
        end = time.monotonic() + within
        last: dict[str, Any] = {}
        while time.monotonic() < end:
            assert self.child is not None
            self.child.check()
            with contextlib.suppress(aiohttp.ClientError):
                last = await self.status()
                if predicate(last):
                    return last
            await asyncio.sleep(0.05)
        raise AssertionError(f"{last}\n{self.child.tail(40) if self.child else ''}")

    async def records(self, predicate: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        file = self.folder / "state" / "audit.jsonl"
        for _ in range(200):
            if file.exists():
                found = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
                if predicate(found):
                    return found
            await asyncio.sleep(0.05)
        raise AssertionError("the records did not come")

    async def ask(
        self, path: str = "/predict", *, key: str | None = None, body: str = '{"text": "hi"}'
    ) -> int:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.post(
                f"https://localhost:{self.port}{path}", data=body, headers=headers, ssl=context
            ) as response,
        ):
            await response.read()
            return response.status


@pytest.fixture
async def local() -> AsyncIterator[Local]:
    # unix socket paths are short: not below pytest's own long folder names
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    reached: list[str] = []
    credentials: list[str] = []

    async def predict(request: web.Request) -> web.Response:
        reached.append((await request.json())["text"])
        credentials.append(request.headers.get("x-model-key", ""))
        return web.json_response({"label": "good"})

    app = web.Application()
    app.router.add_post("/predict", predict)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made = Local(folder=folder, model_port=port, reached=reached, credentials=credentials)
    made.write_files()
    try:
        yield made
    finally:
        if made.child is not None:
            await made.child.stop()
        await runner.cleanup()
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


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
        self.reports.append(request)
        return fleet_pb2.ReportReply(lease_seconds=15)

    async def Upload(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.records += [msgspec.json.decode(record) for record in request.records]
        return audit_pb2.UploadReply(stored=len(request.records))

    async def recorded(self, predicate: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(1000):
            if found := [one for one in self.records if predicate(one)]:
                return found[0]
            await asyncio.sleep(0.02)
        raise AssertionError(f"no such record among {len(self.records)}")

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


@pytest.fixture
async def plane(local: Local) -> AsyncIterator[Plane]:
    made = Plane(local.signer)
    await made.prepare()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
