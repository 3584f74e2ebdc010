"""Stands for the agent's end-to-end tests: the real agent as a process, real Envoy, a tiny model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from bartizan.local.processes import free_port
from tests.support.agent_plane import Plane
from tests.support.agent_stand import Local
from tests.support.orphans import end_orphans


@pytest.fixture
async def local() -> AsyncIterator[Local]:
    # unix socket paths are short: not below pytest's own long folder names
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    reached: list[str] = []
    credentials: list[str] = []

    async def predict(request: web.Request) -> web.Response:
        reached.append((await request.json())["text"])
        credentials.append(request.headers.get("x-model-key", ""))
        return web.json_response({"label": "good"})

    app = web.Application()
    app.router.add_post("/predict", predict)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made = Local(folder=folder, model_port=port, reached=reached, credentials=credentials)
    made.write_files()
    try:
        yield made
    finally:
        if made.child is not None:
            await made.child.stop()
        end_orphans(folder)
        await runner.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def plane(local: Local) -> AsyncIterator[Plane]:
    made = Plane(local.signer)
    await made.prepare()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
