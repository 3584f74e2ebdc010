"""What a killed agent leaves: its Envoy has no parent any more, so a test that ends must end it itself, by its pid."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def end_orphans(folder: Path) -> list[int]:
    """Kill the processes whose command line names a file below this test's own folder; returns their pids."""
    mark = f"{folder}/".encode()
    ended = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            # Envoy and OpenBao are told their configuration's path; nothing else of a stand is
            if any(mark in word for word in (entry / "cmdline").read_bytes().split(b"\0")):
                os.kill(int(entry.name), signal.SIGKILL)
                ended.append(int(entry.name))
    return ended
