"""A place for a control plane process: its state folder, its ports, and a real OpenBao beside it."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bartizan.client import Client
from bartizan.errors import DependencyUnavailable
from bartizan.local import processes
from bartizan.local.openbao import OpenBao


@dataclass(slots=True)
class Place:
    """`start` starts the process, `ready` waits until it works."""

    state: Path
    bao: OpenBao
    environment: dict[str, str]
    api: int
    attest: int

    async def start(self, log: Path) -> processes.Child:
        return await processes.start(
            "control plane", [sys.executable, "-m", "control_plane"], log=log, env=self.environment
        )

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.api}"

    @property
    def ca(self) -> Path:
        return self.state / "ca.pem"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    async def ready(self) -> None:
        async with asyncio.timeout(60):
            while True:
                if self.ca.exists():
                    async with Client(self.url, ca_file=self.ca) as client:
                        try:
                            if (await client.health()).status == "ok":
                                return
                        except DependencyUnavailable:
                            pass
                await asyncio.sleep(0.05)

    async def admin(self) -> str:
        """The first admin token, for the bootstrap one."""
        secret = (self.state / "bootstrap-token").read_text().strip()
        async with Client(self.url, secret, ca_file=self.ca) as client:
            return (await client.create_token(role="admin", name="test")).token


@asynccontextmanager
async def new_place(folder: Path, **more: str) -> AsyncIterator[Place]:
    """OpenBao runs meanwhile; `more` goes to the control plane's environment."""
    bao = OpenBao(folder / "bao")
    await bao.start()
    api, grpc_port, attest, metrics = (processes.free_port() for _ in range(4))
    state = folder / "state"
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "BARTIZAN_CP_STATE_DIR": str(state),
        "BARTIZAN_CP_API_LISTEN": f"127.0.0.1:{api}",
        "BARTIZAN_CP_GRPC_LISTEN": f"127.0.0.1:{grpc_port}",
        "BARTIZAN_CP_ATTEST_LISTEN": f"127.0.0.1:{attest}",
        "BARTIZAN_CP_METRICS_LISTEN": f"127.0.0.1:{metrics}",
        "BARTIZAN_CP_TRUST_DOMAIN": "test.local",
        "BARTIZAN_CP_VAULT_ADDR": bao.address,
        "BARTIZAN_CP_VAULT_TOKEN_FILE": str(bao.token_file),
        "BARTIZAN_CP_VAULT_CACERT": str(bao.ca_file),
        **more,
    }
    try:
        yield Place(state=state, bao=bao, environment=environment, api=api, attest=attest)
    finally:
        await bao.stop()
