"""The agent in local mode as a process with real Envoy and a real worker, driven without an event loop.

For tests that share one sidecar over a session and speak to it in raw bytes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.identity import TrustDocument
from bartizan.local.binaries import find_binary
from bartizan.local.processes import free_port
from bartizan.policy.bundle import Bundle
from bartizan.policy.canonical import canonical
from bartizan.policy.keyset import KeySet
from bartizan.policy.signing import LocalSigner
from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from protos.gen.bartizan.policy.v1 import policy_pb2
from tests.support.orphans import end_orphans

Status = dict[str, Any]
ROOT = Path(__file__).parents[2]


def new_signer() -> LocalSigner:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return LocalSigner(pem)


class LocalSidecar:
    """One agent with its files. {port} and {model} in the policy become the listener's and the model's ports."""

    def __init__(self, policy: str, model_port: int, keys: KeySet, **environment: str) -> None:
        # unix socket paths are short: not below pytest's own long folder names
        self.folder = Path(tempfile.mkdtemp(prefix="bz-"))
        self.port = free_port()
        self.health = free_port()
        self.model_port = model_port
        self.policy = policy
        self.signer = new_signer()
        self.environment = environment
        self.state_dir = self.folder / "state"
        self.process: subprocess.Popen[bytes] | None = None
        (self.folder / "keys.json").write_bytes(msgspec.json.encode(keys))
        (self.folder / "certs").mkdir()
        self.trust(self.signer)
        self.publish(self.signed(1))

    def trust(self, *signers: LocalSigner) -> None:
        """Before the agent starts: whose bundles it takes."""
        keys = {one.key_id: base64.b64encode(one.public_key).decode() for one in signers}
        document = TrustDocument(trust_domain="test.example", roots=(), verification_keys=keys)
        (self.folder / "trust.json").write_bytes(document.encode())

    def compiled(self, version: int, policy: str | None = None) -> Bundle:
        text = (policy or self.policy).replace("{port}", str(self.port))
        document = parse_policy(text.replace("{model}", str(self.model_port)))
        return compile_bundle(document, revision=1, version=version, issued_at="2026-01-01T00:00:00Z")

    def signed(
        self, version: int, policy: str | None = None, signer: LocalSigner | None = None
    ) -> policy_pb2.SignedBundle:
        return self.sign(canonical(self.compiled(version, policy)), signer)

    def sign(self, payload: bytes, signer: LocalSigner | None = None) -> policy_pb2.SignedBundle:
        signer = signer or self.signer
        name: str = json.loads(payload)["policy"]
        return policy_pb2.SignedBundle(
            name=name, payload=payload, key_id=signer.key_id, signature=signer.sign(payload)
        )

    def publish(self, message: policy_pb2.SignedBundle) -> None:
        temporary = self.folder / "bundle.new"
        temporary.write_bytes(message.SerializeToString())
        temporary.replace(self.folder / "bundle.pb")

    def spawn(self) -> None:
        """Start the agent; does not wait."""
        passed = ("PATH", "HOME", "LANG", "TMPDIR", "BARTIZAN_WIRE")
        kept = {name: os.environ[name] for name in passed if name in os.environ}
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidecar"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
                env={
                    **kept,
                    "BARTIZAN_RUN_DIR": str(self.folder / "run"),
                    "BARTIZAN_STATE_DIR": str(self.state_dir),
                    "BARTIZAN_CERT_DIR": str(self.folder / "certs"),
                    "BARTIZAN_ENVOY": str(find_binary("envoy")),
                    "BARTIZAN_HEALTH_LISTEN": f"127.0.0.1:{self.health}",
                    "BARTIZAN_DRAIN_SECONDS": "1",
                    "BARTIZAN_TRUST_FILE": str(self.folder / "trust.json"),
                    "BARTIZAN_BUNDLE_FILE": str(self.folder / "bundle.pb"),
                    "BARTIZAN_KEYSET_FILE": str(self.folder / "keys.json"),
                    **self.environment,
                },
            )

    def start(self) -> None:
        """The first version is enforced, and the keys of its issuers are there: those may come later."""
        self.spawn()
        self.until(lambda now: enforced(now, 1) and "jwks_missing" not in now["conditions"])

    def stop(self) -> None:
        process = self.process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        self.stop()
        end_orphans(self.folder)
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def agent_pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        return (self.folder / "agent.log").read_text(errors="replace")

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}{path}", timeout=30) as response:
            data: bytes = response.read()
            return data

    def status(self) -> Status:
        found: Status = json.loads(self.fetch("/status"))
        return found

    def until(self, predicate: Callable[[Status], bool], within: float = 60.0) -> Status:
        end = time.monotonic() + within
        last: Status = {}
        while time.monotonic() < end:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, urllib.error.URLError):
                last = self.status()
                if predicate(last):
                    return last
            time.sleep(0.05)
        raise AssertionError(f"{last}\n" + "\n".join(self.log().splitlines()[-30:]))

    def records(self, about: str = "") -> list[Mapping[str, Any]]:
        """All audit records so far, of those that say `about` somewhere."""
        file = self.state_dir / "audit.jsonl"
        if not file.exists():
            return []
        lines = file.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines if about.encode() in line]


def enforced(status: Status, version: int) -> bool:
    policy = status["policy"]
    return bool(status["ready"] and policy and policy["version"] == version)
