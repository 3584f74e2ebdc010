"""Envoy's admin interface is asked over one connection, and over a new one where Envoy is a new process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from sidecar.agent.admin import EnvoyAdmin


@asynccontextmanager
async def answering(socket: Path) -> AsyncIterator[set[asyncio.Transport]]:
    """An admin interface that is ready; the connections that it was asked over."""
    seen: set[asyncio.Transport] = set()

    async def ready(request: web.Request) -> web.Response:
        assert request.transport is not None
        seen.add(request.transport)
        return web.Response(text="LIVE\n")

    app = web.Application()
    app.router.add_get("/ready", ready)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield seen
    finally:
        await runner.cleanup()
        socket.unlink(missing_ok=True)


async def test_every_question_comes_over_one_connection(tmp_path: Path) -> None:
    async with (
        answering(tmp_path / "admin.sock") as connections,
        EnvoyAdmin(tmp_path / "admin.sock") as admin,
    ):
        assert [await admin.ready() for _ in range(3)] == [True] * 3
        assert len(connections) == 1


async def test_a_new_envoy_is_asked_although_the_old_ones_connection_was_kept(tmp_path: Path) -> None:
    async with EnvoyAdmin(tmp_path / "admin.sock") as admin:
        for _ in range(2):
            async with answering(tmp_path / "admin.sock") as connections:
                assert await admin.ready()
                assert connections
