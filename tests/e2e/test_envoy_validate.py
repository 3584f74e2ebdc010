"""Real Envoy takes what we compile: `--mode validate` for every golden case, and a run of the edge without a guard."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bartizan.local.binaries import find_binary
from bartizan.local.processes import Child, free_port, start
from bartizan.policy.bundle import Bundle
from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from sidecar.agent.bootstrap import envoy_command

pytestmark = pytest.mark.e2e

StaticConfig = Callable[[Bundle, Path], dict[str, Any]]

CASES = sorted(
    path.parent.name for path in (Path(__file__).parents[1] / "golden" / "compile").glob("*/policy.yaml")
)

BOOTSTRAPS = sorted(path.name for path in (Path(__file__).parents[1] / "golden" / "bootstrap").iterdir())

EDGE = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {{name: edge}}
spec:
  selector: {{matchLabels: {{app: edge}}}}
  listener: {{address: 127.0.0.1, port: {port}, tls: none}}
  model: {{name: edge, protocol: json_fields, port: {model}}}
  routes: [{{path: /v1/predict, inputText: [$.text]}}]
  tenants: [acme]
  authn: {{apiKeys: {{set: edge}}}}
  limits: {{body: {{max: 1KiB}}}}
"""


@pytest.mark.parametrize("case", CASES)
async def test_envoy_accepts_every_golden_configuration(
    case: str, golden_root: Path, tmp_path: Path, static_config: StaticConfig
) -> None:
    policy = parse_policy((golden_root / "compile" / case / "policy.yaml").read_text())
    bundle = compile_bundle(policy, revision=3, version=7, issued_at="2026-01-02T03:04:05Z")
    await validate(json.dumps(static_config(bundle, Path("/run/bartizan"))), tmp_path)


@pytest.mark.parametrize("case", BOOTSTRAPS)
async def test_envoy_accepts_every_golden_bootstrap(case: str, golden_root: Path, tmp_path: Path) -> None:
    await validate((golden_root / "bootstrap" / case / "bootstrap.json").read_text(), tmp_path)


UNFINISHED = re.compile(
    r"message '[\w.]*(CustomResponse|LocalResponsePolicy)' is contained in .* work-in-progress"
)
"""The one warning that docs/adr/0040 accepts."""


async def validate(config: str, folder: Path) -> None:
    path = folder / "envoy.json"
    path.write_text(config)
    process = await asyncio.create_subprocess_exec(
        str(find_binary("envoy")), "--mode", "validate", "--config-path", str(path), "--log-level", "warning",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    # a deprecated or misspelt field is only a warning for Envoy
    lines = [line for line in output.decode().splitlines() if not UNFINISHED.search(line)]
    assert "warning" not in "\n".join(lines).lower(), output.decode()


@dataclass(slots=True)
class Edge:
    """A running Envoy without any guard, and what reached the model behind it."""

    port: int
    envoy: Child
    received: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def raw(self, *lines: str) -> tuple[int, dict[str, str], bytes]:
        """Send exactly these lines (no client library repairs them); status, headers and body of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write("\r\n".join([*lines, "host: edge", "", ""]).encode())
            await writer.drain()
            async with asyncio.timeout(60):
                head = await reader.readuntil(b"\r\n\r\n")
                status, *fields = head.decode().rstrip().split("\r\n")
                headers = {name: value for name, _, value in (line.partition(": ") for line in fields)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
        finally:
            writer.close()
        return int(status.split()[1]), headers, body


@pytest.fixture
async def edge(static_config: StaticConfig) -> AsyncIterator[Edge]:
    port, model_port = free_port(), free_port()
    # unix socket paths are short: pytest's own folders may be too deep
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        run_dir = Path(folder)
        policy = parse_policy(EDGE.format(port=port, model=model_port))
        bundle = compile_bundle(policy, revision=1, version=1, issued_at="2026-01-02T03:04:05Z")
        config = run_dir / "envoy.json"
        config.write_text(json.dumps(static_config(bundle, run_dir)))
        received: list[str] = []

        async def model(request: web.Request) -> web.Response:
            received.append(request.path)
            return web.json_response({})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", model)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", model_port).start()
        envoy = await start("envoy", envoy_command(find_binary("envoy"), config), log=run_dir / "envoy.log")
        try:
            await _ready(envoy, run_dir / "admin.sock")
            yield Edge(port=port, envoy=envoy, received=received)
        finally:
            await envoy.stop()
            await runner.cleanup()


async def _ready(envoy: Child, admin: Path) -> None:
    async with asyncio.timeout(60):
        while True:
            envoy.check()
            try:
                async with (
                    aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(admin))) as session,
                    session.get("http://admin/ready") as answer,
                ):
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)


PREDICT = "POST /v1/predict HTTP/1.1"
EMPTY = "content-length: 0"

REFUSALS: dict[str, tuple[int, tuple[str, ...]]] = {
    "no guard answers": (503, (PREDICT, EMPTY)),
    "no guard answers a probe from loopback": (503, (PREDICT, EMPTY, "x-bartizan-probe: forged")),
    "no guard answers a probe of an undeclared path": (503, ("GET /other HTTP/1.1", "x-bartizan-probe: forged")),
    "compressed body that nobody would read": (415, (PREDICT, EMPTY, "content-encoding: gzip")),
    "undeclared path": (404, ("POST /v1/admin HTTP/1.1", EMPTY)),
    "undeclared method": (404, ("GET /v1/predict HTTP/1.1",)),
    "other case": (404, ("POST /v1/Predict HTTP/1.1", EMPTY)),
    "longer path": (404, ("POST /v1/predict/ HTTP/1.1", EMPTY)),
    "path parameter": (404, ("POST /v1/predict;x=1 HTTP/1.1", EMPTY)),
    "path parameter inside": (404, ("POST /v1;x/predict HTTP/1.1", EMPTY)),
    "dots leave the path": (404, ("POST /v1/predict/../admin HTTP/1.1", EMPTY)),
    "encoded dots leave the path": (404, ("POST /v1/predict/%2e%2e/admin HTTP/1.1", EMPTY)),
    "encoded slash": (400, ("POST /v1%2fpredict HTTP/1.1", EMPTY)),
    "encoded backslash": (400, ("POST /v1%5cpredict HTTP/1.1", EMPTY)),
    "encoded zero": (400, ("POST /v1/predict%00 HTTP/1.1", EMPTY)),
    "fragment": (400, ("POST /v1/predict#x HTTP/1.1", EMPTY)),
    "header with underscore": (400, (PREDICT, EMPTY, "x_api_key: bzk_1")),
    "upgrade": (403, (PREDICT, EMPTY, "connection: upgrade", "upgrade: websocket")),
    "upgrade of an undeclared path": (403, ("GET / HTTP/1.1", "connection: upgrade", "upgrade: other")),
    "connect": (403, ("CONNECT 127.0.0.1:80 HTTP/1.1",)),
    "smuggled length": (400, (PREDICT, "content-length: 0", "transfer-encoding: chunked")),
}  # fmt: skip


async def test_edge_refuses_by_itself_and_says_so_in_our_words(edge: Edge) -> None:
    for rule, (status, lines) in REFUSALS.items():
        got, headers, body = await edge.raw(*lines)
        assert got == status, (rule, got, headers, body)
        assert headers.get("x-bartizan-decision"), (rule, headers, body)
        assert headers.get("content-type") == "application/problem+json", (rule, headers)
        document = json.loads(body)
        assert document["status"] == status, rule
        assert document["decision"] == headers["x-bartizan-decision"], rule
        assert "retry-after" in headers or status != 503, rule
    assert edge.received == []
