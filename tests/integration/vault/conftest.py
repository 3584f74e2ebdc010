"""One real OpenBao for all Vault tests of a session; a test that kills or freezes it starts or resumes it again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bartizan.local.openbao import OpenBao
from control_plane.secrets.vault import Vault, VaultSettings
from tests.support.rotation_scene import Scene, rotation_scene

T = TypeVar("T")


@dataclass(slots=True)
class Server:
    """OpenBao on a loop of its own, so that it outlives the loops of single tests."""

    bao: OpenBao
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = Server(OpenBao(tmp_path_factory.mktemp("openbao") / "state"), loop)
    running.run(running.bao.start())
    try:
        yield running
    finally:
        running.run(running.bao.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def deadline() -> float:
    """Seconds for one call, more than any machine needs; tests whose server is away have a shorter one of their own."""
    return 15.0


@pytest.fixture
async def vault(server: Server, deadline: float) -> AsyncIterator[Vault]:
    bao = server.bao
    made = Vault(
        VaultSettings(address=bao.address, token_file=bao.token_file, ca_file=bao.ca_file, deadline=deadline)
    )
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def scene(vault: Vault, tmp_path: Path) -> AsyncIterator[Scene]:
    async with rotation_scene(vault, tmp_path) as made:
        yield made
