"""The control plane's API over real TLS on loopback, with the real store, policy service and ledger."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.api import RotationInfo, SecretInfo
from bartizan.client import Client
from bartizan.errors import NotFound
from bartizan.identity import JoinToken, TrustDocument
from bartizan.policy.signing import LocalSigner
from control_plane.api.auth import Brake, Tokens
from control_plane.api.openapi import Operation
from control_plane.api.ports import Parts
from control_plane.api.routes.catalog import operations
from control_plane.api.server import application, serve
from control_plane.fleet.ledger import Ledger
from control_plane.policies.actor import Actor
from control_plane.policies.definitions import secret_info
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.store.base import AdminEvent, SecretRow, Store
from control_plane.store.sql.store import SqlStore, open_store
from tests.support.commands import Commands

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: chat, namespace: prod}
spec:
  selector: {matchLabels: {app: chat}}
  listener: {port: 8443, tls: {cert: "file:tls.crt", key: "file:tls.key"}}
  model: {name: sentiment, protocol: json_fields, port: 8000}
  routes: [{path: /predict, inputText: ["$.text"], outputScores: ["$.probabilities"]}]
  tenants: [acme]
  authn: {apiKeys: {set: chat}}
  limits: {requests: [{per: key, rate: 5/s}]}
  input: [{pii: {action: redact}}]
"""


@dataclass(slots=True)
class Signer:
    """Ed25519 in this process, where production asks Vault."""

    local: LocalSigner

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        return self.local.key_id, self.local.sign(payload)


@dataclass(slots=True)
class Definitions:
    """Secrets without a rotation engine: definitions are stored, rotations only begin."""

    store: Store

    async def define(self, name: str, definition: Mapping[str, Any], actor: Actor) -> SecretInfo:
        text = msgspec.json.encode(definition).decode()
        row = SecretRow(name=name, definition=text, created_at=1, created_by=actor.label, updated_at=1)
        async with self.store.begin() as work:
            await work.secrets.put(row)
        return secret_info(row)

    async def rotate(self, name: str, actor: Actor) -> RotationInfo:
        return await self.rotation(name)

    async def roll_back(self, name: str, actor: Actor) -> RotationInfo:
        return await self.rotation(name)

    async def rotation(self, name: str) -> RotationInfo:
        async with self.store.begin() as work:
            if await work.secrets.get(name) is None:
                raise NotFound(f"no secret {name}")
        return RotationInfo(secret=name, phase="none", finished=True)


@dataclass(slots=True)
class House:
    """A running API and what stands behind it."""

    url: str
    ca_file: Path
    bootstrap: Path
    store: SqlStore
    ledger: Ledger
    signer: LocalSigner
    operations: list[Operation]
    trust: TrustDocument
    changed: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    refused: list[AdminEvent] = field(default_factory=list)
    admin: str = ""

    def client(self, token: str | None = None) -> Client:
        return Client(self.url, self.admin if token is None else token, ca_file=self.ca_file)

    async def token(self, role: Any, **more: Any) -> str:
        async with self.client() as client:
            return (await client.create_token(role=role, name=role, **more)).token


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signer, ledger = LocalSigner(pem), Ledger()
    changed: list[str] = []
    reasons: list[str] = []
    trust = TrustDocument(trust_domain="test.local", roots=(), verification_keys={signer.key_id: "x"})

    async def note(name: str, *_newest: object) -> None:
        changed.append(name)

    async def trust_bytes() -> bytes:
        return trust.encode()

    async def join_token(secret: str) -> str:
        return JoinToken(secret=secret, api="a", grpc="g", attest="t", trust=trust.digest()).encode()

    tokens = Tokens(store, tmp_path / "bootstrap-token", brake=Brake(burst=50))
    parts = Parts(
        store=store,
        policies=Policies(store, Signer(signer), note),
        keys=Keys(store, note),
        tokens=tokens,
        ledger=ledger,
        secrets=Definitions(store),
        trust=trust_bytes,
        removed=note,
        join_token=join_token,
        not_ready=lambda: reasons,
        version="1.2.3",
        trust_domain="test.local",
        clock=time.time,
    )
    bootstrap = await tokens.prepare_bootstrap()
    assert bootstrap is not None
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    listed = operations(parts)
    refused: list[AdminEvent] = []
    app = application(listed, tokens, "1.2.3", refused.append)
    runner, port = await serve(app, "127.0.0.1", 0, context)
    assert isinstance(runner, web.AppRunner)
    made = House(
        url=f"https://127.0.0.1:{port}",
        ca_file=tmp_path / "ca.pem",
        bootstrap=bootstrap,
        store=store,
        ledger=ledger,
        signer=signer,
        operations=listed,
        trust=trust,
        changed=changed,
        reasons=reasons,
        refused=refused,
    )
    try:
        async with made.client(bootstrap.read_text().strip()) as client:
            made.admin = (await client.create_token(role="admin", name="root")).token
        yield made
    finally:
        await runner.cleanup()
        await store.close()


@pytest.fixture
def policy_text() -> str:
    """A small policy prod/chat."""
    return POLICY


@pytest.fixture
def commands(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("BARTIZAN_HOME", str(tmp_path / "home"))
    return Commands(house, tmp_path)
