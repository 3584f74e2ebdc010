"""What the kernel's /proc says of a process's turn on the processors; silence.py judges it."""

from __future__ import annotations

import os
from pathlib import Path

from sidecar.agent.silence import Scheduling

_NANO = 1e9
# fields of /proc/PID/stat behind the command's name in brackets (proc_pid_stat(5), counted from the state)
_STATE, _USER, _SYSTEM = 0, 11, 12


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
