"""The real agent as a process with its files, asked as a client would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.identity import TrustDocument
from bartizan.local.binaries import find_binary
from bartizan.local.processes import Child, free_port, start
from bartizan.policy.canonical import canonical
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from bartizan.policy.signing import LocalSigner
from bartizan.policy.validate import validate_document
from control_plane.compile.bundle import compile_bundle
from protos.gen.bartizan.policy.v1 import policy_pb2
from sidecar.worker_settings import DEFAULT_WIRE
from tests.support.raw_client import shed


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
    prefix: tuple[str, ...] = ()
    """What stands before the agent's command: a network namespace to enter."""
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
            [*self.prefix, sys.executable, "-m", "sidecar"],
            log=self.folder / "agent.log",
            env={
                "BARTIZAN_RUN_DIR": str(self.folder / "run"),
                "BARTIZAN_STATE_DIR": str(self.folder / "state"),
                "BARTIZAN_CERT_DIR": str(self.folder / "certs"),
                "BARTIZAN_ENVOY": str(find_binary("envoy")),
                "BARTIZAN_HEALTH_LISTEN": f"127.0.0.1:{self.health}",
                "BARTIZAN_DRAIN_SECONDS": "1",
                "BARTIZAN_WIRE": os.environ.get("BARTIZAN_WIRE", DEFAULT_WIRE),
                **source,
                **extra,
            },
            cwd=Path(__file__).parents[2],
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
        for _ in range(1200):
            if file.exists():
                whole = file.read_bytes().split(b"\n")[:-1]
                found = [msgspec.json.decode(line) for line in whole]
                if predicate(found):
                    return found
            await asyncio.sleep(0.05)
        raise AssertionError("the records did not come")

    async def ask(
        self, path: str = "/predict", *, key: str | None = None, body: str = '{"text": "hi"}'
    ) -> int:
        """The answer's status; asked again where it came only of waiting."""
        for _ in range(20):
            asked = time.monotonic()
            status = await self._asked(path, key, body)
            if not shed(status, asked):
                break
        return status

    async def _asked(self, path: str, key: str | None, body: str) -> int:
        # Not with the machine's own roots beside it: to read those takes 40 ms each time.
        context = ssl.create_default_context(cadata=self.ca.cert_pem.bytes().decode())
        headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.post(
                f"https://localhost:{self.port}{path}", data=body, headers=headers, ssl=context
            ) as response,
        ):
            await response.read()
            return response.status
