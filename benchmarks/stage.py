"""Starts what a case needs, real processes on loopback: the upstream, and a front before it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.errors import BartizanError
from bartizan.identity import TrustDocument
from bartizan.local.binaries import find_binary
from bartizan.local.processes import Child, free_port, start
from bartizan.policy.bundle import Bundle
from bartizan.policy.canonical import canonical
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from bartizan.policy.signing import LocalSigner
from bartizan.policy.validate import validate_document
from benchmarks import envoy_alone
from benchmarks.cases import Case
from benchmarks.issuer import Issuer
from control_plane.compile.bundle import compile_bundle
from protos.gen.bartizan.policy.v1 import policy_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A running front of a case. Pids by role: "envoy", "python" (guard worker or peer), "agent", "upstream"."""

    port: int
    credential: str
    """One header line that lets a request in."""
    pids: dict[str, int]
    ready_seconds: float
    policy: str
    admin: Path
    """Envoy's admin socket."""
    model_port: int
    log: Path
    health: int = 0
    """Port of the agent's status."""


class Skipped(Exception):
    """The case can't be measured here; the text says why."""


@asynccontextmanager
async def front(case: Case) -> AsyncIterator[Front]:
    """Upstream and front of one case, stopped at the end. Raises Skipped."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bartizan-bench-")))
        model_port, port, key = free_port(), free_port(), new_key()
        issuer = Issuer(folder) if case.credential == "jwt" else None
        if issuer is not None:
            stack.callback(issuer.close)
        document = case.policy(port, model_port, issuer.authn if issuer else None)
        bundle = compile_bundle(
            validate_document(document), revision=1, version=1, issued_at="2026-01-01T00:00:00Z"
        )
        if case.needs and case.needs not in envoy_alone.filters_of(bundle):
            raise Skipped(f"the compiled policy has no {case.needs}")
        command = [sys.executable, "-m", "benchmarks.upstream", str(model_port)]
        upstream = await start("upstream", command, log=folder / "upstream.log")
        stack.push_async_callback(upstream.stop)
        await _open(model_port, upstream)
        began = time.perf_counter()
        made = Front(
            port=port,
            credential=f"authorization: Bearer {issuer.token()}" if issuer else f"x-api-key: {key}",
            pids={"upstream": upstream.pid},
            ready_seconds=0.0,
            policy=bundle.policy,
            admin=(folder / "run" if case.front == "sidecar" else folder) / "admin.sock",
            model_port=model_port,
            log=folder / "sidecar.log",
        )
        if case.front == "sidecar":
            collector = free_port()
            sink = await start(
                "collector",
                [sys.executable, "-m", "benchmarks.collector", str(collector)],
                log=folder / "collector.log",
            )
            stack.push_async_callback(sink.stop)
            await _open(collector, sink)
            child, health = await _sidecar(bundle, key, folder, case.wire, issuer, collector)
            stack.push_async_callback(child.stop)
            pids = await _ready(child, health)
            made = replace(made, health=health)
        elif case.front == "proxy":
            pids = await _peer(case, folder, stack, port, model_port, key)
        else:
            peer_port = free_port()
            pids = await _peer(case, folder, stack, peer_port, model_port, key) if case.command else {}
            file = envoy_alone.configuration(case, bundle, folder, peer_port)
            child = await start("envoy", envoy_alone.command(file), log=folder / "envoy.log")
            stack.push_async_callback(child.stop)
            await _open(port, child)
            pids["envoy"] = child.pid
        yield replace(made, pids={**made.pids, **pids}, ready_seconds=time.perf_counter() - began)


async def _peer(
    case: Case, folder: Path, stack: AsyncExitStack, port: int, model_port: int, key: str
) -> dict[str, int]:
    """A peer gets its port, the upstream's and the one key that it shall let in. Raises Skipped: it is not ours to mend."""
    words = [word.format(port=port, upstream=model_port, key=key) for word in shlex.split(case.command)]
    environment = {"PORT": str(port), "UPSTREAM": f"http://127.0.0.1:{model_port}", "API_KEY": key}
    try:
        child = await start(case.path, words, log=folder / "peer.log", env=environment)
        stack.push_async_callback(child.stop)
        await _open(port, child, seconds=120)
    except (BartizanError, OSError) as error:  # TimeoutError is one
        raise Skipped(f"the peer does not serve: {str(error) or type(error).__name__}") from error
    return {"python": child.pid}


async def _sidecar(
    bundle: Bundle, key: str, folder: Path, wire: str, issuer: Issuer | None, collector: int
) -> tuple[Child, int]:
    """The agent in local mode, with a bundle and a key set signed here, and a collector's port for its spans."""
    private = ed25519.Ed25519PrivateKey.generate()
    signer = LocalSigner(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    trust = TrustDocument(
        trust_domain="bench", roots=(), verification_keys={signer.key_id: base64.b64encode(raw).decode()}
    )
    payload = canonical(bundle)
    message = policy_pb2.SignedBundle(
        name=bundle.policy, payload=payload, key_id=signer.key_id, signature=signer.sign(payload)
    )
    record = KeyRecord(id="bench", hash=key_hash(key), tenant="acme")
    (folder / "trust.json").write_bytes(trust.encode())
    (folder / "bundle.bin").write_bytes(message.SerializeToString())
    (folder / "keys.json").write_bytes(msgspec.json.encode(KeySet(name="bench", version=1, keys=(record,))))
    health = free_port()
    settings = {
        "BARTIZAN_RUN_DIR": folder / "run",
        "BARTIZAN_STATE_DIR": folder / "state",
        "BARTIZAN_CERT_DIR": folder,
        "BARTIZAN_TRUST_FILE": folder / "trust.json",
        "BARTIZAN_BUNDLE_FILE": folder / "bundle.bin",
        "BARTIZAN_KEYSET_FILE": folder / "keys.json",
        "BARTIZAN_HEALTH_LISTEN": f"127.0.0.1:{health}",
        "BARTIZAN_LOG_LEVEL": "error",
        "BARTIZAN_ENVOY": find_binary("envoy"),
        "BARTIZAN_WIRE": wire,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
    }
    if issuer is not None:
        settings |= {"BARTIZAN_JWKS_ALLOW": issuer.address, "SSL_CERT_FILE": issuer.certificate}
    environment = {name: str(value) for name, value in settings.items()}
    child = await start(
        "sidecar", [sys.executable, "-m", "sidecar"], log=folder / "sidecar.log", env=environment
    )
    return child, health


async def _ready(child: Child, health: int) -> dict[str, int]:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            child.check()
            try:
                if found := await pids_now(session, health):
                    return found | {"agent": child.pid}
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)


async def pids_now(session: aiohttp.ClientSession, health: int) -> dict[str, int]:
    """Envoy's and the first worker's; empty while the sidecar is not ready. Raises aiohttp.ClientError."""
    async with session.get(f"http://127.0.0.1:{health}/status") as answer:
        status = await answer.json()
    if not status["ready"] or not status["workers"]["pids"]:
        return {}
    return {"envoy": status["envoy"]["pid"], "python": status["workers"]["pids"][0]}


async def find_again(running: Front) -> list[str]:
    """The roles whose process is gone. Waits for their successors (the agent starts them), and goes on with those."""
    lost = [role for role, pid in running.pids.items() if not Path(f"/proc/{pid}").exists()]
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while any(not Path(f"/proc/{pid}").exists() for pid in running.pids.values()):
            with contextlib.suppress(aiohttp.ClientError):
                running.pids.update(await pids_now(session, running.health))
            await asyncio.sleep(0.1)
    return lost


async def _open(port: int, child: Child, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while True:
            child.check()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
