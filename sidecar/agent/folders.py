"""The sidecar's own folders: made private before anything lies in them, and one agent at a time in a run folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bartizan.errors import ProcessFailed

LOCK = "lock"


def make_private(variable: str, folder: Path) -> None:
    """Mode 0700, also when it was there already: it is what keeps others from the sockets. Raises ProcessFailed."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise ProcessFailed(f"{variable}={folder} can't be made: {error.strerror}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder; it is free again when this process ends, however it ends.

    Raises ProcessFailed while another agent holds it: two would take each other's sockets and Envoy away.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ProcessFailed(f"BARTIZAN_RUN_DIR={folder} can't be locked: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessFailed(f"BARTIZAN_RUN_DIR={folder} is in use by another agent") from None
        yield
    finally:
        os.close(descriptor)
