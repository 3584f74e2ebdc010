"""What a killed agent's Envoy leaves its successor: it is ended before a new one starts, also where it stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.agent import envoy
from sidecar.agent.admin import EnvoyAdmin
from sidecar.agent.envoy import EnvoyProcess
from sidecar.agent.scheduling import started

QUEUE = 3
"""Connections that wait before the next is refused; Linux takes one more than `listen` was told."""
STANDS_STILL = f"""
import os, signal, socket, sys
serving = socket.socket(socket.AF_UNIX)
serving.bind(sys.argv[1])
serving.listen({QUEUE - 1})
print("listening", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


class NewEnvoyError(Exception):
    """Raised where a new Envoy would be started."""


@pytest.fixture
def path() -> Iterator[Path]:
    # unix socket paths are short: not below pytest's own long folder names
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        yield Path(folder) / "admin.sock"


@pytest.fixture
def orphan(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", STANDS_STILL, str(path)], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"listening\n"
            yield child
        finally:
            child.kill()


def begin_new() -> None:
    raise NewEnvoyError


@pytest.mark.parametrize("late", [0.0, 3.0], ids=["", "the agent stands still for longer than it waits"])
async def test_an_orphan_that_stands_still_has_ended_before_a_new_envoy_starts(
    path: Path, orphan: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(seconds + late))
    monkeypatch.setattr(envoy, "ORPHAN_ENDS_WITHIN", 1.0)
    found: list[int | None] = []
    assert started(orphan.pid) is not None
    async with EnvoyAdmin(path, timeout=0.2) as admin:
        process = EnvoyProcess(
            binary=Path(sys.executable),
            bootstrap="{}",
            run_dir=path.parent,
            environment={},
            drain_seconds=1,
            log_level="info",
            admin=admin,
            on_new=begin_new,
            on_orphan=lambda: found.append(started(orphan.pid)),
        )
        with pytest.raises(NewEnvoyError):
            await process.run()
    assert found == [None], "found once, and gone then"
    assert orphan.wait() == -signal.SIGKILL


def test_an_interface_whose_queue_is_full_is_somebodys(path: Path) -> None:
    admin = EnvoyAdmin(path)
    assert admin.owner() is None
    with socket.socket(socket.AF_UNIX) as serving:
        serving.bind(str(path))
        serving.listen(QUEUE - 1)
        assert [admin.owner() for _ in range(QUEUE + 2)] == [os.getpid()] * QUEUE + [0, 0]
    assert admin.owner() is None
