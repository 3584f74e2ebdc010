"""up.json names a running stack, or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from bartizan.local.up_state import UpState, read_state, started_at
from tests.unit.bartizan.local.test_told import running


def written(folder: Path, pid: int, started: int) -> UpState:
    state = msgspec.structs.replace(running(), pid=pid, started=started)
    (folder / "up.json").write_bytes(msgspec.json.encode(state))
    return state


def test_a_process_that_has_ended_runs_no_stack_although_nobody_took_note_of_its_end(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    state = written(tmp_path, child.pid, started_at(child.pid))
    assert read_state(tmp_path) == state
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie from here on
    assert read_state(tmp_path) is None
    child.wait()
    assert read_state(tmp_path) is None


def test_another_process_with_the_same_number_is_not_taken_for_it(tmp_path: Path) -> None:
    written(tmp_path, os.getpid(), started_at(os.getpid()) - 1)
    assert read_state(tmp_path) is None
