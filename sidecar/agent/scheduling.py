"""What the kernel's /proc says of a process: its turn on the processors, which silence.py judges, and whether it lives."""

from __future__ import annotations

import os
from pathlib import Path

from sidecar.agent.silence import Scheduling

_NANO = 1e9
# fields of /proc/PID/stat behind the command's name in brackets (proc_pid_stat(5), counted from the state)
_STATE, _USER, _SYSTEM, _STARTED = 0, 11, 12, 19


def scheduling(pid: int, proc: Path = Path("/proc"), *, main_only: bool = False) -> Scheduling | None:
    """None when the process is gone, or a kernel without schedstat does not say.

    `main_only`: no other thread counts, as in a process whose main thread alone answers.
    """
    process = proc / str(pid)
    main = process / "task" / str(pid)
    try:
        fields = ((main if main_only else process) / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[_USER]) + int(fields[_SYSTEM])
        threads = [main] if main_only else process.glob("task/*")
        waited = sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads)
        return Scheduling(state=fields[_STATE], ran=ticks / os.sysconf("SC_CLK_TCK"), waited=waited / _NANO)
    except (OSError, ValueError, IndexError):
        return None


def started(pid: int, proc: Path = Path("/proc")) -> int | None:
    """When a process began, in ticks since the machine did: a number given anew shows by it. None: it has ended, whether
    or not anybody has waited for it.
    """
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] in "ZX" else int(fields[_STARTED])
