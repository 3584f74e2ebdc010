"""Real Envoy with a compiled policy, a real guard worker behind it, and a model whose answers a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bartizan.local.binaries import find_binary
from bartizan.local.processes import Child, free_port, start
from bartizan.policy import names
from bartizan.policy.bundle import Bundle
from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from sidecar.agent.bootstrap import envoy_command
from sidecar.audit.record import Record
from tests.support.guard import GuardWorker, guard_worker
from tests.support.raw_client import shed

StaticConfig = Callable[[Bundle, Path], dict[str, Any]]
Model = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]

TURN = "x-turn"
"""The header by which `Gateway.post` finds again what the model received of one request."""


def streams(*events: bytes, kind: str = "text/event-stream", size: int = 41) -> Model:
    """A model that answers with these events in pieces of `size` bytes, however they are cut."""

    async def model(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(request)
        data = b"".join(events)
        for at in range(0, len(data), size):
            await response.write(data[at : at + size])
        await response.write_eof()
        return response

    return model


async def echo(request: web.Request, body: bytes) -> web.StreamResponse:
    """The default model: says in `echo` what it read in `text`."""
    text = json.loads(body)["text"] if body else ""
    return web.json_response({"echo": text, "probabilities": {"good": 0.87654321, "bad": 0.12345679}})


@dataclass(slots=True)
class Gateway:
    """`received`: bodies that reached the model. `disconnects`: answers whose client went away while it wrote."""

    url: str
    guard: GuardWorker
    bundle: Bundle
    client: aiohttp.ClientSession
    envoy: Child
    model: Model = echo
    received: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    disconnects: int = 0
    arrived: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    """By the turn of `post` that sent it."""

    def reset(self) -> None:
        """As before the first request, but for records that nobody asked for: `record` passes over them."""
        self.model, self.disconnects = echo, 0
        self.received.clear()
        self.headers.clear()
        self.arrived.clear()

    def arrive(self, body: bytes, headers: dict[str, str]) -> None:
        """A request reached the model."""
        if turn := headers.pop(TURN, ""):
            self.arrived[turn] = (body, headers)
        self.received.append(body)
        self.headers.append(headers)

    @contextlib.asynccontextmanager
    async def post(self, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer; asked again where it came only of waiting, as if the first time had not been: what reached the model
        of it is forgotten, and nothing of others that asked meanwhile.
        """
        given = options.pop("headers", {})
        for turn in range(20):
            asked, name = time.monotonic(), uuid.uuid4().hex
            async with self.client.post(self.url + path, headers={**given, TURN: name}, **options) as answer:
                if turn < 19 and shed(answer.status, asked):
                    if name in self.arrived:
                        body, headers = self.arrived.pop(name)
                        self.received.remove(body)
                        self.headers.remove(headers)
                    continue
                yield answer
                return

    async def record(self, answer: aiohttp.ClientResponse) -> Record:
        """What the worker recorded about the decision that this answer names."""
        return await self.guard.record(answer.headers[names.HEADER_DECISION])


def patient(config: dict[str, Any]) -> dict[str, Any]:
    """Envoy waits a minute for a guard, where a policy says two seconds: a test machine that stops the guard for longer
    would be answered with 503, as promised, and no test of anything else could tell that from a fault.
    """
    for listener in config["static_resources"]["listeners"]:
        for entry in listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]:
            hop = entry["typed_config"]
            match entry["name"]:
                case "envoy.filters.http.ext_authz":
                    hop["grpc_service"]["timeout"] = "60s"
                    (attempt,) = hop["grpc_service"]["initial_metadata"]
                    attempt["value"] = "60000"
                case "envoy.filters.http.ext_proc":
                    hop["message_timeout"] = hop["max_message_timeout"] = "60s"
    return config


async def _ready(envoy: Child, admin: Path) -> None:
    async with asyncio.timeout(60):
        while True:
            envoy.check()
            with contextlib.suppress(aiohttp.ClientError):
                async with (
                    aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(admin))) as session,
                    session.get("http://admin/ready") as answer,
                ):
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def gateway(
    policy: str, static_config: StaticConfig, *, load: bool = True, patience: bool = True
) -> AsyncIterator[Gateway]:
    """Start everything for a policy text; {port} and {model} in it become the listener's and the model's ports.

    patience: Envoy's, for tests of other things than a guard that makes it wait.
    """
    port, model_port = free_port(), free_port()
    text = policy.replace("{port}", str(port)).replace("{model}", str(model_port))
    bundle = compile_bundle(parse_policy(text), revision=1, version=1, issued_at="2026-01-02T03:04:05Z")
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        run_dir = Path(folder)
        config = run_dir / "envoy.json"
        made_config = static_config(bundle, run_dir)
        config.write_text(json.dumps(patient(made_config) if patience else made_config))
        async with guard_worker(run_dir=run_dir) as guard, aiohttp.ClientSession() as client:
            if load:
                loaded = await guard.load(bundle.plan)
                assert not loaded.error, loaded.error
            envoy = await start(
                "envoy", envoy_command(find_binary("envoy"), config), log=run_dir / "envoy.log"
            )
            made = Gateway(
                url=f"http://127.0.0.1:{port}", guard=guard, bundle=bundle, client=client, envoy=envoy
            )

            async def serve(request: web.Request) -> web.StreamResponse:
                body = await request.read()
                made.arrive(body, {name.lower(): value for name, value in request.headers.items()})
                try:
                    return await made.model(request, body)
                except (ConnectionResetError, asyncio.CancelledError):
                    made.disconnects += 1
                    raise

            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", serve)
            runner = web.AppRunner(app, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", model_port).start()
            try:
                await _ready(envoy, run_dir / "admin.sock")
                yield made
            finally:
                await envoy.stop()
                await runner.cleanup()
