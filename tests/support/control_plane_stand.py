"""The whole chain as processes (OpenBao, control plane, sidecar with Envoy) before a model of a few lines, to be hurt."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import signal
import sqlite3
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from bartizan.errors import DependencyUnavailable
from bartizan.local.certificates import make_server_certificate
from bartizan.local.processes import Child, free_port
from bartizan.local.stack import Stack
from tests.support.orphans import end_orphans
from tests.support.raw_client import shed
from tests.support.revival import revive

POLICY = "default/hurt"
TIMES = {f"BARTIZAN_CP_ROTATION_{name}_SECONDS": "2" for name in ("LEASE", "SOAK", "DRAIN")}


@dataclass
class Stand:
    """`key` is a good API key; what the model saw is counted in `reached`."""

    stack: Stack
    model_port: int
    port: int = field(default_factory=free_port)
    key: str = ""
    reached: Counter[str] = field(default_factory=Counter)

    def document(self, *, tenants: tuple[str, ...] = ("acme",), name: str = "hurt", app: str = "hurt") -> str:
        return yaml.safe_dump(
            {
                "apiVersion": "bartizan.dev/v1alpha1",
                "kind": "ModelPolicy",
                "metadata": {"name": name},
                "spec": {
                    "selector": {"matchLabels": {"app": app}},
                    "listener": {
                        "address": "127.0.0.1",
                        "port": self.port,
                        "tls": {"cert": "file:tls.crt", "key": "file:tls.key"},
                    },
                    "model": {"name": "hurt", "protocol": "json_fields", "port": self.model_port},
                    "routes": [{"path": "/predict", "inputText": ["$.text"]}],
                    "tenants": list(tenants),
                    "authn": {"apiKeys": {"set": name}},
                },
            }
        )

    async def ask(self, key: str | None = None) -> int:
        """The status of a request over a new connection, asked again where it came only of waiting; key "" for none."""
        for _ in range(20):
            asked = time.monotonic()
            status = await self._asked(self.key if key is None else key)
            if not shed(status, asked):
                break
        return status

    async def _asked(self, key: str) -> int:
        context = ssl.create_default_context(cafile=self.stack.cert_dir / "tls.crt")
        headers = {"x-api-key": key} if key else {}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.post(
                f"https://localhost:{self.port}/predict", json={"text": "hi"}, headers=headers, ssl=context
            ) as answer,
        ):
            await answer.read()
            return answer.status

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[Counter[int | str]]:
        """Requests with the good key, one after the other, meanwhile; their answers."""
        answers: Counter[int | str] = Counter()
        done = asyncio.Event()

        async def load() -> None:
            while not done.is_set():
                try:
                    answers[await self.ask()] += 1
                except aiohttp.ClientError as error:
                    answers[type(error).__name__] += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(load())
            try:
                yield answers
            finally:
                done.set()

    async def begin(self) -> None:
        """What each test begins from: all up, the policy enforced, the key good."""
        await revive(self.stack)
        await self.enforced()
        assert await self.ask() == 200

    async def enforced(self, version: int = 0) -> int:
        """The version that the sidecar provably enforces, once it is the wanted one."""
        async with self.stack.client() as client:
            status = await client.wait_enforced(POLICY, version, timeout_seconds=60)
        assert status.enforced, status
        return status.version

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> float:
        """Seconds until it held."""
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(aiohttp.ClientError, DependencyUnavailable):
                    if await holds():
                        return time.monotonic() - began
                await asyncio.sleep(0.02)

    @property
    def control_plane(self) -> Child:
        assert self.stack.control_plane is not None
        return self.stack.control_plane

    async def kill_control_plane(self) -> None:
        self.control_plane.signal(signal.SIGKILL)
        await self.control_plane.process.wait()

    def stored(self, query: str) -> list[Any]:
        """Rows of the control plane's store, read beside it."""
        file = self.stack.state / "control-plane" / "store.db"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    @contextlib.contextmanager
    def no_room(self) -> Any:
        """The control plane can't write to any file, as on a full or read-only disk."""
        pid = self.control_plane.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    """A stack whose policy is enforced. State is short-lived; unix socket paths are short."""
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    app = web.Application()
    stack = Stack(
        state=folder / "s", labels={"app": "hurt"}, settings={"BARTIZAN_DRAIN_SECONDS": "1", **TIMES}
    )
    made = Stand(stack=stack, model_port=free_port())

    async def predict(request: web.Request) -> web.Response:
        made.reached[(await request.json())["text"]] += 1
        return web.json_response({"label": "good"})

    app.router.add_post("/predict", predict)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.model_port).start()
    try:
        make_server_certificate(stack.cert_dir)
        await stack.start_openbao()
        await stack.start_control_plane()
        async with stack.client() as client:
            await client.create_key_set("hurt")
            made.key = (await client.issue_key("hurt", tenant="acme")).key
            await client.apply(made.document())
        await stack.start_sidecar()
        await made.enforced()
        yield made
    finally:
        await stack.stop()
        await runner.cleanup()
        end_orphans(folder)
        shutil.rmtree(folder, ignore_errors=True)
