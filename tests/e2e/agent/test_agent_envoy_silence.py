"""A healthy Envoy outlives an agent that was frozen and a machine that gives it no processor.

That one which is frozen itself is replaced is in test_agent_envoy.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_stand import Local

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("processors")]

HUNG = "envoy_hung"


def ready(status: dict[str, Any]) -> bool:
    return bool(status["ready"])


async def test_an_agent_that_was_frozen_in_the_middle_of_a_question_leaves_its_envoy_alone(
    local: Local,
) -> None:
    await local.start()
    envoy = (await local.until(ready))["envoy"]["pid"]
    assert local.child is not None
    agent = local.child.process.pid
    try:
        os.kill(envoy, signal.SIGSTOP)
        await asyncio.sleep(1.2)  # it asks every second, and waits for two
        os.kill(agent, signal.SIGSTOP)
        os.kill(envoy, signal.SIGCONT)
        await asyncio.sleep(10)
    finally:
        for pid in (envoy, agent):
            os.kill(pid, signal.SIGCONT)
    assert (await local.until(ready))["envoy"]["pid"] == envoy
    assert await local.ask(key=local.key) == 200
    assert HUNG not in local.child.tail(10_000)


@contextlib.contextmanager
def starved(pid: int, admin: Path) -> Iterator[None]:
    """All threads of a process on one processor that others keep busy, with enough to do to need it all the time."""
    everywhere = os.sched_getaffinity(0)
    one = {max(everywhere)}
    # each in a session of its own: where the kernel shares processors out by session, each has a share
    hog = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(hog, start_new_session=True) for _ in range(6)]
    over = threading.Event()
    askers = [threading.Thread(target=_ask, args=(admin, over)) for _ in range(6)]
    try:
        for each in hogs:
            os.sched_setaffinity(each.pid, one)
        for asker in askers:
            asker.start()
        _demote(pid, one, os.SCHED_IDLE, 19)
        yield
    finally:
        over.set()
        for each in hogs:
            each.kill()
            each.wait()
        with contextlib.suppress(OSError):  # to get back what was given away takes rights
            _demote(pid, everywhere, os.SCHED_OTHER, 0)
        for asker in askers:
            asker.join()


def _demote(pid: int, processors: set[int], policy: int, nice: int) -> None:
    """The last in turn: among the threads of its session, and its session among others."""
    for thread in _threads(pid):
        os.sched_setaffinity(thread, processors)
        os.sched_setscheduler(thread, policy, os.sched_param(0))
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(str(nice))


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _ask(admin: Path, over: threading.Event) -> None:
    """Envoy's main thread writes all its statistics, again and again."""
    while not over.is_set():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(1)
            asking.connect(str(admin))
            asking.sendall(b"GET /stats?format=prometheus HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n")
            while asking.recv(1 << 16) and not over.is_set():
                pass


@pytest.mark.timeout(240)
async def test_an_envoy_that_gets_no_processor_is_waited_for(local: Local) -> None:
    await local.start()
    envoy = (await local.until(ready))["envoy"]["pid"]
    assert local.child is not None
    with starved(envoy, local.folder / "run" / "admin.sock"):
        silent, end = 0.0, time.monotonic() + 60
        last = time.monotonic()
        while silent < 12 and time.monotonic() < end:
            status = await local.status()
            now = time.monotonic()
            silent = silent + now - last if "envoy_not_ready" in status["conditions"] else 0.0
            last = now
            assert status["envoy"]["pid"] == envoy, local.child.tail(20)
            await asyncio.sleep(0.2)
        assert silent >= 12, "it was not starved"
    assert (await local.until(ready))["envoy"]["pid"] == envoy
    assert HUNG not in local.child.tail(10_000)
