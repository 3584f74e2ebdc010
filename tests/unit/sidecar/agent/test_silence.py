"""A child that hangs is found; one that waits for a processor, or that nobody listened to, is not taken for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.agent.scheduling import scheduling
from sidecar.agent.silence import STARVED, Scheduling, Silence

EVERY, LIMIT = 0.5, 2.0
Look = tuple[float, Scheduling | None]


def seen(state: str, ran: float = 0.0, waited: float = 0.0) -> Scheduling:
    return Scheduling(state=state, ran=ran, waited=waited)


def looks(seconds: float, state: str, *, ran: float = 0.0, waited: float = 0.0) -> list[Look]:
    """One each EVERY seconds; `ran` and `waited` are shares of the time."""
    times = [EVERY * number for number in range(1, round(seconds / EVERY) + 1)]
    return [(at, seen(state, at * ran, at * waited)) for at in times]


def hangs(looked: list[Look]) -> bool:
    silence = Silence(EVERY, 0.0)
    for at, scheduled in looked:
        silence.look(at, scheduled)
    return silence.longer_than(LIMIT)


@pytest.mark.parametrize(
    ("looked", "hung"),
    [
        pytest.param(looks(3, "S"), True, id="waits for something that never comes"),
        pytest.param(looks(3, "R", ran=1), True, id="computes for ever"),
        pytest.param(looks(3, "T"), True, id="is stopped"),
        pytest.param(looks(3, "T", waited=1), True, id="is stopped, whatever its other threads wait for"),
        pytest.param([(at, None) for at, _ in looks(3, "S")], True, id="the kernel does not tell"),
        pytest.param(looks(1.5, "S"), False, id="for less than the limit"),
        pytest.param(looks(9, "R", ran=0.1, waited=0.9), False, id="gets a tenth of a processor"),
        pytest.param(looks(9, "R"), False, id="gets none, and the kernel has not added the wait up"),
        pytest.param(looks(9, "S", ran=0.1, waited=0.9), False, id="was just given its turn"),
        pytest.param(looks(30, "R", ran=0.1, waited=0.9), True, id="starves for very long"),
        pytest.param([(9.0, seen("S"))], False, id="nobody listened in between"),
        pytest.param([(3600.0, seen("S"))], False, id="nobody listened for an hour"),
        pytest.param(looks(3, "S", waited=8), False, id="many threads wait"),
    ],
)
def test_silence_counts_where_the_child_could_have_answered(looked: list[Look], *, hung: bool) -> None:
    assert hangs(looked) is hung


@pytest.mark.parametrize(
    ("listener", "hung"),
    [
        pytest.param(looks(9, "S", waited=0.9), False, id="the listener gets hardly any processor"),
        pytest.param(looks(9, "S", waited=0.1), True, id="the listener has a processor"),
        pytest.param([(at, None) for at, _ in looks(9, "S")], True, id="the kernel does not tell"),
    ],
)
def test_silence_does_not_count_while_the_listener_waits_for_a_processor(
    listener: list[Look], *, hung: bool
) -> None:
    silence = Silence(EVERY, 0.0)
    for (at, child), (_, heard_by) in zip(looks(9, "S"), listener, strict=True):
        silence.look(at, child, heard_by)
    assert silence.longer_than(LIMIT) is hung


def test_an_answer_ends_the_silence() -> None:
    silence = Silence(EVERY, 0.0)
    for at, scheduled in looks(1.5, "S"):
        silence.look(at, scheduled)
    silence.heard(1.5)
    for at, scheduled in looks(1.5, "S"):
        silence.look(1.5 + at, scheduled)
    assert not silence.longer_than(LIMIT)


def test_no_excuse_lasts_for_ever() -> None:
    assert hangs(looks(STARVED * LIMIT + 1, "R"))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Computes without end."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def until(pid: int, state: str = "", *, ran: float = 0.0, waited: float = 0.0) -> Scheduling:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = scheduling(pid)
        assert found is not None
        if (not state or found.state == state) and found.ran >= ran and found.waited >= waited:
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def test_the_kernel_tells_who_runs_and_who_is_stopped(child: subprocess.Popen[bytes]) -> None:
    until(child.pid, "R", ran=0.05)
    child.send_signal(signal.SIGSTOP)
    stopped = until(child.pid, "T")
    time.sleep(0.1)
    assert scheduling(child.pid) == stopped, "a stopped process neither runs nor waits for a processor"


def test_of_the_main_thread_alone_other_threads_do_not_count() -> None:
    code = (
        "import threading, time\nthreading.Thread(target=sum, args=(range(10**10),)).start()\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            until(process.pid, "S", ran=0.5)
            main = scheduling(process.pid, main_only=True)
        finally:
            process.kill()
    assert main is not None
    assert main.ran < 0.5


def test_the_kernel_tells_who_waits_for_a_processor(child: subprocess.Popen[bytes]) -> None:
    """Two that compute on one processor: what one runs, the other waits."""
    processor = {next(iter(os.sched_getaffinity(0)))}
    os.sched_setaffinity(child.pid, processor)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as hog:
        try:
            os.sched_setaffinity(hog.pid, processor)
            before = until(child.pid)
            after = until(child.pid, waited=before.waited + 0.3)
        finally:
            hog.kill()
    assert after.waited - before.waited >= 0.3


def test_of_a_process_that_is_gone_nothing_is_known(tmp_path: Path) -> None:
    assert scheduling(2**30) is None
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "stat").write_text("1 (a name) of (its own) R")
    assert scheduling(1, tmp_path) is None
