"""How many connections the API takes follows from the descriptors that the process may have."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from control_plane.api.door import within_descriptors
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
limits = within_descriptors()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], limits.connections, limits.per_peer)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(128, 256, "256 128 32"), (128, 1024, "1024 512 128"), (256, 4096, "4096 1024 256")],
)
def test_the_soft_limit_is_raised_and_half_of_it_is_left_to_the_rest(
    soft: int, hard: int, expected: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == expected
