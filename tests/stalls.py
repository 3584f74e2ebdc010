"""Plays tests while any of their processes stands still for a moment: finds tests, and code, that believe in an order.

`python -m tests.stalls [--longest SECONDS] [--pause SECONDS] [--seed N] -- pytest tests/e2e …`. A busy machine does the
same to CI, once in a hundred runs.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

WORKER_LONGEST = 1.5
"""A guard worker that stands still for two seconds is killed, as promised, and requests are refused until it is back."""

LIBC = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT, DETACH, EVENT_STOP = 0x4206, 0x4207, 17, 128
ALL_THREADS = 0x40000000
"""waitpid's __WALL."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stalls", description=__doc__)
    parser.add_argument(
        "--longest", type=float, default=0.5, help="seconds that a process stands still at most"
    )
    parser.add_argument("--pause", type=float, default=0.4, help="mean seconds from one stall to the next")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("command", nargs="+", help="what is played, from pytest on")
    told = parser.parse_args()
    chance = random.Random(told.seed)
    played = subprocess.Popen([sys.executable, "-m", *told.command])
    stalls = 0
    try:
        while played.poll() is None:
            time.sleep(chance.expovariate(1 / told.pause))
            if running := _running(played.pid):
                pid = chance.choice(running)
                longest = min(told.longest, WORKER_LONGEST) if _is_worker(pid) else told.longest
                stalls += _stall(pid, chance.uniform(0.02, longest))
    except KeyboardInterrupt:
        played.send_signal(signal.SIGINT)
    print(f"{stalls} stalls")
    return played.wait()


def _stall(pid: int, seconds: float) -> bool:
    """Whether it stood still. Stopped as by a debugger, not by signals: those tests send themselves, and what they froze
    meanwhile would go on at the end of our stall.
    """
    held: dict[int, int] = {}
    try:
        seen: set[int] = set()
        while fresh := set(_threads(pid)) - seen:
            seen |= fresh
            for thread in fresh:
                _hold(thread, held)
        time.sleep(seconds if held else 0)
    finally:
        for thread in sorted(held, key=lambda thread: thread == pid):
            if not _trace(DETACH, thread, held[thread]):  # killed meanwhile: its parent hears of it after us
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(thread, ALL_THREADS)
    return bool(held)


def _hold(thread: int, held: dict[int, int]) -> None:
    """Stop a thread, if it is still there, and note the signal that it was about to get."""
    if not _trace(SEIZE, thread):
        return
    held[thread] = 0
    _trace(INTERRUPT, thread)
    with contextlib.suppress(ChildProcessError):
        _, status = os.waitpid(thread, ALL_THREADS)
        if os.WIFSTOPPED(status) and status >> 16 != EVENT_STOP:
            held[thread] = os.WSTOPSIG(status)


def _trace(request: int, thread: int, signal_: int = 0) -> bool:
    return bool(LIBC.ptrace(request, thread, None, ctypes.c_void_p(signal_)) == 0)


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _is_worker(pid: int) -> bool:
    try:
        return b"sidecar.worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _running(root: int) -> list[int]:
    """The processes below `root`, itself not; what a test has stopped stays as the test wants it."""
    children: dict[int, list[int]] = defaultdict(list)
    states: dict[int, str] = {}
    for one in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = one.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        children[int(parent)].append(int(one.parent.name))
        states[int(one.parent.name)] = state
    below, found = [root], []
    while below:
        below = [child for parent in below for child in children[parent]]
        found += [pid for pid in below if states[pid] not in "TtZX"]
    return found


if __name__ == "__main__":
    sys.exit(main())
