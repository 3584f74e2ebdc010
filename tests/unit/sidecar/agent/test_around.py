"""Whether the model answers around Envoy: looked at with real sockets on several addresses of loopback."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from bartizan.local.binaries import find_binary
from bartizan.local.processes import free_port
from bartizan.policy.bundle import Bundle
from bartizan.policy.names import HEADER_DECISION
from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from sidecar.agent import conditions, listening
from sidecar.agent.around import model_ports, reachable_around, targets
from sidecar.agent.listening import Listening
from sidecar.app import Agent
from sidecar.settings import load
from tests.conftest import GOLDEN

POD_IP = "127.0.0.3"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server on the pod's address that answers as Envoy does."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=404, headers={HEADER_DECISION: "0" * 32})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", refuse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, POD_IP, port).start()
    yield port
    await runner.cleanup()


def bundle() -> Bundle:
    text = (GOLDEN / "compile" / "api_key_only" / "policy.yaml").read_text()
    return compile_bundle(parse_policy(text), revision=1, version=1, issued_at="2026-01-01T00:00:00Z")


def test_the_models_port_is_read_from_what_envoy_gets() -> None:
    assert model_ports(bundle()) == {8000}


@pytest.mark.parametrize(
    ("address", "port", "asked"),
    [
        ("0.0.0.0", 9100, {("10.1.2.3", 9100)}),
        ("10.1.2.3", 9100, {("10.1.2.3", 9100)}),
        ("127.0.0.1", 9100, set()),
        ("0.0.0.0", 8443, set()),
        ("0.0.0.0", 15020, set()),
        ("0.0.0.0", 9999, set()),
    ],
)
def test_whatever_listens_beyond_loopback_is_asked_but_our_ports_and_excluded_ones(
    address: str, port: int, asked: set[tuple[str, int]]
) -> None:
    sockets = [Listening(address=address, port=port)]
    always = {("10.1.2.3", 8000)}
    assert targets(sockets, ["10.1.2.3"], {8000}, {8443, 15020, 9999}) == always | asked


def test_the_models_port_can_never_be_excluded() -> None:
    assert targets([], ["10.1.2.3"], {8000}, {8000}) == {("10.1.2.3", 8000)}


async def test_a_model_on_loopback_only_is_not_reachable_around() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert not await reachable_around(POD_IP, port, None, "port")
    assert not await reachable_around(POD_IP, port, None, "redirect")
    server.close()


async def test_with_capture_port_whoever_takes_the_connection_is_around(port: int) -> None:
    assert await reachable_around(POD_IP, port, None, "port")


async def test_with_redirect_envoy_may_take_it_and_nobody_else(port: int) -> None:
    assert not await reachable_around(POD_IP, port, None, "redirect")
    assert await reachable_around(POD_IP, port, b"0" * 32, "redirect"), "TLS was expected there"
    server = await asyncio.start_server(lambda _r, w: w.close(), POD_IP, 0)
    other = server.sockets[0].getsockname()[1]
    assert await reachable_around(POD_IP, other, None, "redirect")
    server.close()


async def test_what_nobody_could_be_asked_about_is_not_taken_for_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("x")
    settings = load(
        {
            "BARTIZAN_ENVOY": str(find_binary("envoy")),
            "BARTIZAN_RUN_DIR": str(tmp_path / "run"),
            "BARTIZAN_STATE_DIR": str(tmp_path / "state"),
            "BARTIZAN_JOIN_TOKEN_FILE": str(tmp_path / "token"),
            "BARTIZAN_POD_IPS": POD_IP,
            "BARTIZAN_CAPTURE": "port",
        }
    )
    # The table takes one descriptor and gives it back, before many ports are asked at once.
    looked_at, sockets = bundle(), await asyncio.to_thread(listening.read)
    monkeypatch.setattr(listening, "read", lambda: sockets)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        agent = Agent(settings, group, stack)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await agent.around._note(looked_at, None)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert conditions.MODEL_UNCHECKED_AROUND in agent.conditions
