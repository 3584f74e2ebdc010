"""The whole of Bartizan on one machine: OpenBao, control plane and one sidecar, each a real process.

Used by `bartizan demo`, `bartizan up` and the end-to-end tests. State lies in one folder and survives a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from bartizan import tasks
from bartizan.client import Client
from bartizan.errors import DependencyUnavailable, Forbidden, NotFound
from bartizan.local import processes
from bartizan.local.openbao import OpenBao
from bartizan.local.private_file import write_private
from bartizan.local.state_file import Port, read_state_file

TRUST_DOMAIN = "bartizan.local"
TOKEN_HOURS = 12


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Loopback ports of one stack; kept in the state folder, so that addresses survive a restart."""

    api: Port
    grpc: Port
    attest: Port
    cp_metrics: Port
    health: Port

    @classmethod
    def free(cls) -> Ports:
        return cls(**{name: processes.free_port() for name in cls.__struct_fields__})


@dataclass(slots=True)
class Stack:
    """Started in order, stopped in reverse. Raises ProcessFailed or DependencyUnavailable with the log's end."""

    state: Path
    namespace: str = "default"
    service_account: str = "model"
    labels: dict[str, str] = field(default_factory=dict)
    otlp_endpoint: str = ""
    workers: int = 1
    settings: dict[str, str] = field(default_factory=dict)
    """Further environment of control plane and sidecar (shorter rotation times, log level)."""
    ports: Ports = field(init=False)
    bao: OpenBao = field(init=False)
    control_plane: processes.Child | None = field(default=None, init=False)
    sidecar: processes.Child | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        ports_file = self.state / "ports.json"
        if ports_file.exists():
            self.ports = read_state_file(ports_file, Ports, "remove it: the next start takes free ports")
        else:
            self.ports = Ports.free()
            ports_file.write_bytes(msgspec.json.encode(self.ports))
        self.bao = OpenBao(self.state / "openbao")

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.ports.api}"

    @property
    def health_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.health}"

    @property
    def spiffe_id(self) -> str:
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def ca_file(self) -> Path:
        return self.state / "control-plane" / "ca.pem"

    @property
    def token_file(self) -> Path:
        return self.state / "admin-token"

    @property
    def cert_dir(self) -> Path:
        return self.state / "certificates"

    @property
    def run_dir(self) -> Path:
        return self.state / "run"

    def client(self) -> Client:
        """A client of the REST API with the ordinary admin token."""
        return Client(self.api_url, self.token_file.read_text().strip(), ca_file=self.ca_file)

    async def start_openbao(self) -> None:
        await self.bao.start()

    async def start_control_plane(self, seconds: float = 60) -> None:
        """Start it and wait until it is ready; make the first admin token when there is none."""
        command = [sys.executable, "-m", "control_plane"]
        self.control_plane = await processes.start(
            "control plane", command, log=self.state / "control-plane.log", env=self._control_plane_settings()
        )
        await self._wait(self.control_plane, f"{self.api_url}/readyz", seconds)
        await self._admin_token(self.state / "control-plane" / "bootstrap-token")

    def _control_plane_settings(self) -> dict[str, str]:
        return {
            "BARTIZAN_CP_STATE_DIR": str(self.state / "control-plane"),
            "BARTIZAN_CP_API_LISTEN": f"127.0.0.1:{self.ports.api}",
            "BARTIZAN_CP_GRPC_LISTEN": f"127.0.0.1:{self.ports.grpc}",
            "BARTIZAN_CP_ATTEST_LISTEN": f"127.0.0.1:{self.ports.attest}",
            "BARTIZAN_CP_METRICS_LISTEN": f"127.0.0.1:{self.ports.cp_metrics}",
            "BARTIZAN_CP_TRUST_DOMAIN": TRUST_DOMAIN,
            "BARTIZAN_CP_VAULT_ADDR": self.bao.address,
            "BARTIZAN_CP_VAULT_TOKEN_FILE": str(self.bao.token_file),
            "BARTIZAN_CP_VAULT_CACERT": str(self.bao.ca_file),
            **self._common(),
        }

    async def start_sidecar(self, seconds: float = 60, *, ready: bool = True, join: bool = True) -> None:
        """Start the agent with a fresh join token (ignored by it when its identity was kept); wait until ready.

        join=False: without a control plane no token can be had; the agent lives from what it kept.
        """
        join_file = self.state / "join-token"
        if join:
            async with self.client() as client:
                token = await client.join_token(self.spiffe_id, self.labels)
            write_private(join_file, token)
            self.leave_another_identity()
        seal = self.state / "seal-key"
        if not seal.exists():
            write_private(seal, secrets.token_hex(32))
        environment = {
            "BARTIZAN_RUN_DIR": str(self.run_dir),
            "BARTIZAN_STATE_DIR": str(self.state / "sidecar"),
            "BARTIZAN_CERT_DIR": str(self.cert_dir),
            "BARTIZAN_CONTROL_PLANE": f"127.0.0.1:{self.ports.grpc}",
            "BARTIZAN_ATTEST": f"127.0.0.1:{self.ports.attest}",
            "BARTIZAN_API": self.api_url,
            "BARTIZAN_JOIN_TOKEN_FILE": str(join_file),
            "BARTIZAN_SEAL_KEY_FILE": str(seal),
            "BARTIZAN_WORKERS": str(self.workers),
            "BARTIZAN_HEALTH_LISTEN": f"127.0.0.1:{self.ports.health}",
            **self._common(),
        }
        command = [sys.executable, "-m", "sidecar"]
        self.sidecar = await processes.start(
            "sidecar", command, log=self.state / "sidecar.log", env=environment
        )
        path = "/readyz" if ready else "/healthz"
        await self._wait(self.sidecar, f"{self.health_url}{path}", seconds)
        if ready and join:
            await self.retire_earlier((await self.sidecar_status())["instance_id"])

    def leave_another_identity(self) -> None:
        """Forget the sidecar's kept identity when it joined under another name or with other labels, as another policy file
        asked for: with it no policy of this stack would select it. Without one it takes the join token.
        """
        file, joins = (
            self.state / "joins.json",
            msgspec.json.encode([self.spiffe_id, self.labels], order="sorted"),
        )
        if file.exists() and file.read_bytes() != joins:
            for kept in ("identity.sealed", "last-good.sealed"):
                (self.state / "sidecar" / kept).unlink(missing_ok=True)
        write_private(file, joins.decode())

    async def retire_earlier(self, instance_id: str) -> None:
        """Remove what this stack's sidecar was before it had to join anew: that one has ended, and would hold rotations.

        Ids whose removal fails now are tried again at the next call.
        """
        file = self.state / "instances.json"
        mend = "remove it, and with `bartizan remove-instance` what `bartizan instances` shows of earlier sidecars"
        known = read_state_file(file, list[str], mend) if file.exists() else []
        if not instance_id or known == [instance_id]:
            return
        left = [name for name in known if name != instance_id]
        write_private(file, msgspec.json.encode([*left, instance_id]).decode())
        async with self.client() as client:
            for name in list(left):
                with contextlib.suppress(DependencyUnavailable):
                    with contextlib.suppress(NotFound):
                        await client.remove_instance(name)
                    left.remove(name)
        write_private(file, msgspec.json.encode([*left, instance_id]).decode())

    async def renew_token(self) -> None:
        """Trade the admin token for a fresh one; the old one is left to expire, so that nobody is cut off. One that ended, as
        while the machine slept, is made up for.
        """
        try:
            async with self.client() as client:
                made = await client.create_token(role="admin", ttl_seconds=TOKEN_HOURS * 3600, name="laptop")
        except Forbidden:
            await self._enter()
        else:
            write_private(self.token_file, made.token)

    async def sidecar_status(self) -> dict[str, Any]:
        """The agent's own /status."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.health_url}/status") as answer:
            status: dict[str, Any] = await answer.json()
            return status

    async def stop(self) -> None:
        """Sidecar, control plane, OpenBao; each by its own pid."""
        if self.sidecar is not None:
            await self.sidecar.stop(grace=20)
        if self.control_plane is not None:
            await self.control_plane.stop()
        await self.bao.stop()

    def _common(self) -> dict[str, str]:
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_endpoint} if self.otlp_endpoint else {}
        return {"BARTIZAN_LOG_LEVEL": "info", **tracing, **self.settings}

    async def _admin_token(self, bootstrap: Path) -> None:
        """The first one; another one where ours was lost, or ended while somebody else's lives."""
        if not bootstrap.exists():
            if not await self._may_enter():
                await self._enter()
            return
        async with Client(self.api_url, bootstrap.read_text().strip(), ca_file=self.ca_file) as client:
            made = await client.create_token(role="admin", ttl_seconds=TOKEN_HOURS * 3600, name="laptop")
        write_private(self.token_file, made.token)

    async def _enter(self) -> None:
        """As whose host this is."""
        # Half of the control plane, which this process else does without for as long as the stack runs.
        from control_plane.recover import new_admin
        from control_plane.settings import read_store

        store = read_store(self._control_plane_settings())
        made = await new_admin(store, name="laptop", ttl_seconds=TOKEN_HOURS * 3600)
        write_private(self.token_file, made.token)

    async def _may_enter(self) -> bool:
        try:
            async with self.client() as client:
                await client.tokens()
        except (OSError, ValueError, Forbidden):
            return False
        return True

    async def _wait(self, child: processes.Child, url: str, seconds: float) -> None:
        """Poll until 200. On failure the message holds the last reasons and the log's end."""
        last = "no answer yet"
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with tasks.timeout(seconds), aiohttp.ClientSession(timeout=timeout) as session:
                while True:
                    child.check()
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                        # Loopback, and only a status is read: the CA may not be written yet.
                        async with session.get(url, ssl=False) as answer:
                            if answer.status == 200:
                                child.check()  # it was this child that answered, not somebody on its port
                                return
                            last = (await answer.text(errors="replace"))[:500]
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DependencyUnavailable(
                f"{child.name} was not ready in {seconds:.0f} s: {last}\n{child.log}:\n{child.tail()}"
            ) from None
