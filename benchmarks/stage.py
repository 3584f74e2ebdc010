"""Starts what a case needs, real processes on loopback, and reads their CPU and memory from /proc."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.identity import TrustDocument
from bartizan.local.binaries import find_binary
from bartizan.local.processes import Child, free_port, start
from bartizan.policy.bundle import Bundle
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from bartizan.policy.signing import LocalSigner, canonical
from bartizan.policy.validate import validate_document
from benchmarks.cases import Case
from control_plane.compile.bundle import compile_bundle
from protos.gen.bartizan.policy.v1 import policy_pb2
from sidecar.agent.bootstrap import bootstrap, bootstrap_json

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A running front of a case. Pids by role: "envoy", "python" (guard worker), "agent"."""

    port: int
    key: str
    pids: dict[str, int]
    ready_seconds: float


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Resident memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


@asynccontextmanager
async def front(case: Case) -> AsyncIterator[Front]:
    """Upstream and front of one case, stopped at the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bartizan-bench-")))
        model_port, port, key = free_port(), free_port(), new_key()
        upstream = await start(
            "upstream",
            [sys.executable, "-m", "benchmarks.upstream", str(model_port)],
            log=folder / "upstream.log",
        )
        stack.push_async_callback(upstream.stop)
        bundle = compile_bundle(
            validate_document(case.policy(port, model_port)),
            revision=1,
            version=1,
            issued_at="2026-01-01T00:00:00Z",
        )
        began = time.perf_counter()
        if case.front == "envoy":
            child, pids = await _envoy(case, bundle, folder), {}
            stack.push_async_callback(child.stop)
            await _open(port, child)
            pids = {"envoy": child.pid}
        else:
            child, health = await _sidecar(bundle, key, folder, case.wire)
            stack.push_async_callback(child.stop)
            pids = await _ready(child, health)
        yield Front(port=port, key=key, pids=pids, ready_seconds=time.perf_counter() - began)


async def _envoy(case: Case, bundle: Bundle, folder: Path) -> Child:
    """Envoy alone on a static file: the compiled chain with only `case.filters` and the router."""
    config: dict[str, Any] = json.loads(bootstrap_json(bootstrap("bench", folder, 1)))
    config.pop("dynamic_resources")
    listener = {name: value for name, value in bundle.envoy.listeners[0].items() if name != "@type"}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for name in ("rds", "tracing", "access_log") if not case.filters else ("rds",):
        manager.pop(name, None)
    kept = {*case.filters, "envoy.filters.http.router"}
    manager["http_filters"] = [each for each in manager["http_filters"] if each["name"] in kept]
    routes = json.loads(json.dumps(bundle.envoy.routes[0]))
    routes.pop("@type")
    for host in routes["virtual_hosts"]:
        for route in host["routes"]:
            route.pop("typed_per_filter_config", None)
    manager["route_config"] = routes
    config["static_resources"]["listeners"] = [listener]
    config["static_resources"]["clusters"] += [
        {name: value for name, value in cluster.items() if name != "@type"}
        for cluster in bundle.envoy.clusters
    ]
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    command = [
        str(find_binary("envoy")),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "error",
    ]
    return await start("envoy", command, log=folder / "envoy.log")


async def _sidecar(bundle: Bundle, key: str, folder: Path, wire: str) -> tuple[Child, int]:
    """The agent in local mode, with a bundle and a key set signed here."""
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
        "BARTIZAN_WIRE": wire,
    }
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
                async with session.get(f"http://127.0.0.1:{health}/status") as answer:
                    status = await answer.json()
                if status["ready"]:
                    return {
                        "envoy": status["envoy"]["pid"],
                        "python": status["workers"]["pids"][0],
                        "agent": child.pid,
                    }
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)


async def _open(port: int, child: Child) -> None:
    async with asyncio.timeout(30):
        while True:
            child.check()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
