"""What a process costs, from /proc: CPU, memory, open files. Linux only, as the rest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Resident memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def together_mb(pids: Iterable[int]) -> float:
    """Resident memory of processes of one container, with what they map of the same file counted once, as a cgroup does.

    `rss_mb` counts the pages of a library in each process that has it open.
    """
    own, mapped = 0, Counter[tuple[str, ...]]()
    for pid in pids:
        region: tuple[str, ...] = ()
        here = Counter[tuple[str, ...]]()
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            name, *rest = line.split()
            if not name.endswith(":"):  # 7f12-7f13 r-xp OFFSET DEVICE INODE PATH
                region = tuple(rest[1:4])
            elif name == "Rss:":
                here[region] += int(rest[0])
            elif name == "Anonymous:":
                here[region] -= int(rest[0])
                own += int(rest[0])
        mapped |= here
    return (own + mapped.total()) * 1024 / 1e6


def open_files(pid: int) -> int:
    """File descriptors now."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children(pid: int) -> list[int]:
    """Direct and indirect child processes."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found
