"""A real OpenBao server for laptop runs, the demo and tests: started, initialised, unsealed and provisioned.

Laptop only: the unseal key and the root token lie (mode 0600) beside the data they protect, so that a restart needs
no human. A production Vault is set up by its owner; this file then serves as the list of what Bartizan needs from it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
from msgspec import Meta

from bartizan import tasks
from bartizan.errors import Conflict, DependencyRefused, DependencyUnavailable, InvalidInput
from bartizan.local import processes
from bartizan.local.binaries import find_binary
from bartizan.local.certificates import make_certificate
from bartizan.local.private_file import write_private
from bartizan.local.state_file import Port, read_state_file

KV, PKI, TRANSIT = "bartizan-kv", "bartizan-pki", "bartizan-transit"
BUNDLE_KEY = "bartizan-bundles"
POLICY = "bartizan-control-plane"

# Exactly what the control plane calls; no list of other mounts, no delete of anything but a secret's own version.
_RULES: dict[str, list[str]] = {
    f"{KV}/data/*": ["create", "update", "read"],
    f"{KV}/metadata/*": ["read", "list"],
    f"{KV}/destroy/*": ["update"],
    f"{PKI}/root/sign-intermediate": ["create", "update"],
    f"{PKI}/cert/ca": ["read"],
    f"{TRANSIT}/sign/{BUNDLE_KEY}": ["create", "update"],
    f"{TRANSIT}/keys/{BUNDLE_KEY}": ["read"],
    "auth/token/lookup-self": ["read"],
    "auth/token/renew-self": ["update"],
}


class _Keys(msgspec.Struct, frozen=True):
    """What unseal.json holds."""

    unseal_key: Annotated[str, Meta(min_length=1)]
    root_token: Annotated[str, Meta(min_length=1)]


@dataclass(slots=True)
class OpenBao:
    """One server with its data in `state` (made with mode 0700). `start` is idempotent over kept data.

    After `start`: `address` (https URL), `ca_file` (its certificate), `token_file` (the control plane's periodic
    token, 0600). Errors: ProcessFailed or DependencyUnavailable when it does not come up, DependencyRefused when
    provisioning is refused, Conflict when a process of an earlier run still uses the folder.
    """

    state: Path
    binary: Path | None = None
    token_period_seconds: int = 24 * 3600
    start_seconds: float = 30.0
    address: str = field(default="", init=False)
    _child: processes.Child | None = field(default=None, init=False)

    @property
    def ca_file(self) -> Path:
        return self.state / "tls.crt"

    @property
    def token_file(self) -> Path:
        return self.state / "control-plane-token"

    @property
    def log_file(self) -> Path:
        return self.state / "openbao.log"

    @property
    def child(self) -> processes.Child:
        """The running process. Raises DependencyUnavailable before `start`."""
        if self._child is None:
            raise DependencyUnavailable("OpenBao is not started")
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    async def start(self) -> None:
        """Start, initialise or unseal, and bring mounts, policy and token to the wanted state."""
        config_file, pid_file = self.state / "config.json", self.state / "openbao.pid"
        left_over = processes.still_running(pid_file, str(config_file))
        if left_over is not None:
            raise Conflict(
                f"OpenBao (pid {left_over}) of an earlier run still uses {self.state}; stop it first"
            )
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.state / "raft").mkdir(exist_ok=True, mode=0o700)
        if not self.ca_file.exists():
            # ten years: OpenBao has no other one later
            make_certificate(self.ca_file, self.state / "tls.key", name="OpenBao on loopback", days=3650)
        api, cluster = self._ports()
        self.address = f"https://127.0.0.1:{api}"
        config = {
            "storage": {
                "raft": {"path": str(self.state / "raft"), "node_id": "laptop", "performance_multiplier": 1}
            },
            "listener": {
                "tcp": {
                    "address": f"127.0.0.1:{api}",
                    "cluster_address": f"127.0.0.1:{cluster}",
                    "tls_cert_file": str(self.ca_file),
                    "tls_key_file": str(self.state / "tls.key"),
                }
            },
            "api_addr": self.address,
            "cluster_addr": f"https://127.0.0.1:{cluster}",
            "ui": False,
        }
        write_private(config_file, json.dumps(config, indent=2))
        self._child = await processes.start(
            "openbao",
            [str(find_binary("bao", self.binary)), "server", f"-config={config_file}", "-log-level=warn"],
            log=self.log_file,
        )
        pid_file.write_text(str(self._child.pid))
        try:
            await self._answers()
            await self.unseal()
            await self._provision()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it in good order; the data stays."""
        if self._child is not None:
            await self._child.stop()

    async def kill(self) -> None:
        """SIGKILL: the crash test."""
        self.child.signal(signal.SIGKILL)
        await self.child.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it accepts connections and never answers."""
        self.child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `freeze`."""
        self.child.signal(signal.SIGCONT)

    async def seal(self) -> None:
        """Seal it: every call is answered 503 until the next `unseal`."""
        await self.call("PUT", "sys/seal")

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, ok: tuple[int, ...] = (200, 204)
    ) -> dict[str, Any]:
        """One API call with the root token: for provisioning and tests, never for the control plane."""
        status, answer = await self._request(method, path, body)
        if status not in ok:
            raise DependencyRefused(f"OpenBao answered {status} to {method} {path}: {answer.get('errors')}")
        return answer

    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        keys = self._keys()
        headers = {"X-Vault-Token": keys.root_token} if keys else {}
        timeout = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(
                method, f"{self.address}/v1/{path}", json=body, headers=headers, ssl=context
            ) as answer,
        ):
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw else {}

    async def _answers(self) -> None:
        """Wait until the API answers at all."""
        try:
            async with tasks.timeout(self.start_seconds):
                while True:
                    self.child.check()
                    try:
                        await self._request("GET", "sys/seal-status", None)
                        return
                    except (aiohttp.ClientError, TimeoutError):
                        await asyncio.sleep(0.1)
        except TimeoutError:
            raise DependencyUnavailable(
                f"OpenBao did not answer in {self.start_seconds:.0f} s; {self.log_file}:\n{self.child.tail()}"
            ) from None

    async def unseal(self) -> None:
        """Initialise it when it is new, open it, and wait until it is in charge."""
        _, status = await self._request("GET", "sys/seal-status", None)
        if not status["initialized"]:
            made = await self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            keys = _Keys(unseal_key=made["keys_base64"][0], root_token=made["root_token"])
            write_private(self.state / "unseal.json", msgspec.json.encode(keys).decode())
        keys_now = self._keys()
        if keys_now is None:
            raise DependencyRefused(
                f"OpenBao's data in {self.state} is initialised but unseal.json is missing; move the folder away"
            )
        await self.call("PUT", "sys/unseal", {"key": keys_now.unseal_key})
        try:
            async with tasks.timeout(self.start_seconds):
                while True:  # raft has to elect itself
                    health, _ = await self._request("GET", "sys/health", None)
                    if health == 200:
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DependencyUnavailable("OpenBao is unsealed but not active") from None

    def _keys(self) -> _Keys | None:
        try:
            mend = f"without it nothing in {self.state} can be opened: move the folder away"
            return read_state_file(self.state / "unseal.json", _Keys, mend)
        except FileNotFoundError:
            return None

    async def _provision(self) -> None:
        mounts = await self.call("GET", "sys/mounts")
        if f"{KV}/" not in mounts:
            await self.call("POST", f"sys/mounts/{KV}", {"type": "kv", "options": {"version": "2"}})
        await self._configure_kv()
        if f"{PKI}/" not in mounts:
            await self.call(
                "POST", f"sys/mounts/{PKI}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}}
            )
        if (await self._request("GET", f"{PKI}/cert/ca", None))[0] != 200:
            await self.call(
                "POST",
                f"{PKI}/root/generate/internal",
                {
                    "common_name": "Bartizan root",
                    "key_type": "ec",
                    "key_bits": 256,
                    "ttl": "87600h",
                    "max_path_length": 1,
                },
            )
        if f"{TRANSIT}/" not in mounts:
            await self.call("POST", f"sys/mounts/{TRANSIT}", {"type": "transit"})
        await self.call("POST", f"{TRANSIT}/keys/{BUNDLE_KEY}", {"type": "ed25519"})
        rules = {"path": {path: {"capabilities": granted} for path, granted in _RULES.items()}}
        await self.call("PUT", f"sys/policies/acl/{POLICY}", {"policy": json.dumps(rules)})
        await self._token()

    async def _configure_kv(self) -> None:
        """A fresh KV v2 mount upgrades itself in the background and refuses calls with 400 until it is done."""
        wanted = {"cas_required": True, "max_versions": 8}
        for _ in range(50):
            if (await self._request("POST", f"{KV}/config", wanted))[0] in (200, 204):
                return
            await asyncio.sleep(0.1)
        await self.call("POST", f"{KV}/config", wanted)

    async def _token(self) -> None:
        """A periodic orphan token with exactly our policy; a living one is kept."""
        if self.token_file.exists():
            token = self.token_file.read_text(errors="replace").strip()
            status, _ = await self._request("POST", "auth/token/lookup", {"token": token})
            if status == 200:
                return
        made = await self.call(
            "POST",
            "auth/token/create-orphan",
            {
                "policies": [POLICY],
                "no_default_policy": True,
                "period": f"{self.token_period_seconds}s",
                "display_name": "bartizan-control-plane",
            },
        )
        write_private(self.token_file, made["auth"]["client_token"])

    def _ports(self) -> tuple[int, int]:
        """The ports of the last run where they are still free: the address then survives restarts."""
        file = self.state / "ports.json"
        try:
            api, cluster = read_state_file(file, tuple[Port, Port], "")
        except (FileNotFoundError, InvalidInput):
            api = cluster = 0
        ports = (
            api if api and processes.port_is_free(api) else processes.free_port(),
            cluster if cluster and processes.port_is_free(cluster) else processes.free_port(),
        )
        file.write_text(json.dumps(ports))
        return ports
