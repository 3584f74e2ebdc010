"""The memory of processes of one container: what they map of one file counts once, what is theirs for each."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.meter import rss_mb, together_mb

_SIZE = 32 * 1024 * 1024


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[list[int]]:
    """Two processes with 32 MB of one file and 32 MB of their own in memory each."""
    file = tmp_path / "library"
    file.write_bytes(os.urandom(_SIZE))
    program = (
        "import mmap, sys\n"
        "file = open(sys.argv[1], 'rb')\n"
        f"mapped = mmap.mmap(file.fileno(), {_SIZE}, access=mmap.ACCESS_READ)\n"
        f"sum(mapped[::{mmap.PAGESIZE}]); own = bytearray(b'x') * {_SIZE}\n"
        "print('there', flush=True); sys.stdin.read()"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    try:
        for each in running:
            assert each.stdout is not None
            assert each.stdout.readline() == b"there\n"
        yield [each.pid for each in running]
    finally:
        for each in running:
            each.communicate()


def test_what_two_processes_map_of_one_file_counts_once(pids: list[int]) -> None:
    size = _SIZE / 1e6
    alone, together, twice = together_mb(pids[:1]), together_mb(pids), sum(rss_mb(pid) for pid in pids)
    assert 2 * size < alone < 3 * size
    assert 3 * size < together < 4 * size
    assert together < twice - size
