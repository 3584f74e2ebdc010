"""Connections that ask nothing: they are bounded, they end, and they keep nobody else out."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import gc
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from bartizan.local import processes
from control_plane.api.door import Limits
from control_plane.api.server import serve


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


@contextlib.asynccontextmanager
async def api(limits: Limits) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    ca = trustme.CA()
    context, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(client)
    app = web.Application()
    app.router.add_get("/", hello)
    runner, port = await serve(app, "127.0.0.1", 0, context, limits)
    try:
        yield port, client
    finally:
        await runner.cleanup()


async def asked(port: int, client: ssl.SSLContext) -> int:
    url = f"https://127.0.0.1:{port}/"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=client) as answer:
        return answer.status


async def served(port: int, client: ssl.SSLContext) -> None:
    """Sooner or later: who is late with a request, as on a busy machine, is sent away."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                assert await asked(port, client) == 200
                return


@pytest.mark.parametrize("handshaken", [True, False])
@pytest.mark.parametrize("limits", [Limits(connections=8), Limits(per_peer=8)])
async def test_who_asks_is_served_beside_more_silent_connections_than_may_be(
    limits: Limits, handshaken: bool
) -> None:
    async with api(limits) as (port, client):
        idle = []
        for _ in range(20):
            if handshaken:
                idle.append((await asyncio.open_connection("127.0.0.1", port, ssl=client))[1])
            else:
                idle.append((await asyncio.open_connection("127.0.0.1", port))[1])
        assert await asked(port, client) == 200
        for writer in idle:
            writer.transport.abort()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_connection_that_its_client_ends_leaves_no_error(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with api(Limits()) as (port, client):
        assert await asked(port, client) == 200
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        getattr(writer.transport, how)()
    await asyncio.sleep(0)
    gc.collect()  # a task's exception is told of when nobody can ask for it any more
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_connection_without_a_whole_request_head_is_closed_in_time() -> None:
    async with api(Limits(first_seconds=1)) as (port, client):
        for context, head in ((client, b"GET / HTTP/1.1\r\nhost: x\r\n"), (None, b"")):
            async with asyncio.timeout(60):
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                    writer.write(head)
                    assert await reader.read() == b""
                    writer.transport.abort()
        await served(port, client)


async def test_a_connection_that_asked_stays_and_is_not_sent_away_for_a_new_one() -> None:
    limits = Limits(connections=2, first_seconds=3)  # the two have to ask within them
    async with api(limits) as (port, client), aiohttp.ClientSession() as session:
        url = f"https://127.0.0.1:{port}/"
        async with session.get(url, ssl=client) as first, session.get(url, ssl=client) as second:
            assert (first.status, second.status) == (200, 200)
            await asyncio.sleep(3.2)
            with socket.create_connection(("127.0.0.1", port)) as third:
                third.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.get_running_loop().sock_recv(third, 1) == b""
        async with session.get(url, ssl=client) as again:
            assert again.status == 200


async def test_places_are_given_back(tmp_path: Path) -> None:
    async with api(Limits(connections=3)) as (port, client):
        for _ in range(10):
            assert await asked(port, client) == 200
            with socket.create_connection(("127.0.0.1", port)) as broken:
                broken.sendall(b"no TLS at all\r\n\r\n")


async def test_a_connection_that_was_sent_away_leaves_nothing_in_memory() -> None:
    """Its TLS state is large: a flood's would be the whole machine's memory before the collector looks for cycles."""
    limits = Limits(connections=4)
    greeting = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), greeting, server_hostname="x").do_handshake()
    begun, idle = greeting.read(), []
    async with api(limits) as (port, client):
        assert await asked(port, client) == 200
        gc.collect()
        gc.disable()
        try:
            for _ in range(40):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(begun)
                await writer.drain()
                idle.append(writer)
            assert await asked(port, client) == 200
            alive = sum(isinstance(each, asyncio.sslproto.SSLProtocol) for each in gc.get_objects())
        finally:
            gc.enable()
    for writer in idle:
        writer.transport.abort()
    assert alive <= limits.connections + 2, "the client's own is among them"


async def test_the_process_answers_with_few_descriptors_and_hundreds_of_silent_connections(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text("none")
    names = ("API", "GRPC", "ATTEST", "METRICS")
    ports = {name: processes.free_port() for name in names}
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **{f"BARTIZAN_CP_{name}_LISTEN": f"127.0.0.1:{port}" for name, port in ports.items()},
        "BARTIZAN_CP_STATE_DIR": str(tmp_path / "state"),
        "BARTIZAN_CP_TRUST_DOMAIN": "test.local",
        "BARTIZAN_CP_VAULT_ADDR": "https://127.0.0.1:1",
        "BARTIZAN_CP_VAULT_TOKEN_FILE": str(tmp_path / "token"),
    }
    command = ["bash", "-c", f"ulimit -n 256; exec {sys.executable} -m control_plane"]
    child = await processes.start("control plane", command, log=tmp_path / "log", env=environment)
    # Its certificate is makeshift until Vault has signed one; only that it answers matters here.
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    idle = []
    try:
        async with asyncio.timeout(120), aiohttp.ClientSession() as session:
            url = f"https://127.0.0.1:{ports['API']}/healthz"
            while True:
                child.check()
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(url, ssl=trusting):
                        break
                await asyncio.sleep(0.02)
            for _ in range(300):
                with contextlib.suppress(OSError):
                    idle.append((await asyncio.open_connection("127.0.0.1", ports["API"], ssl=trusting))[1])
        async with aiohttp.ClientSession() as stranger, stranger.get(url, ssl=trusting) as answer:
            assert answer.status == 200
    finally:
        for writer in idle:
            writer.transport.abort()
        await child.stop()
