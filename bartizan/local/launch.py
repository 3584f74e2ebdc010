"""Execs a command that does not outlive its parent: python launch.py PARENT-PID COMMAND ARGUMENT…

The kernel sends SIGTERM when the parent is gone, also after SIGKILL or the OOM killer (prctl(2), PR_SET_PDEATHSIG), so
that no half of a laptop stack goes on without the process that watches it. Run as a file: it must start fast.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent ended before its child began")
    os.execvp(command[0], command)  # noqa: S606  # the stack resolves the paths
