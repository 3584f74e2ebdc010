"""Small files of the state folder: who uses it, this replica's name, and the CA for clients on this machine."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bartizan.errors import DependencyRefused
from bartizan.telemetry.logging import get_logger

_log = get_logger()


@contextmanager
def alone_in(state_dir: Path) -> Iterator[None]:
    """One process for each state folder: two would share a name, and SQLite. Raises DependencyRefused."""
    with (state_dir / "lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DependencyRefused(
                f"another control plane runs with {state_dir}; BARTIZAN_CP_STATE_DIR names a folder for each,"
                " and several replicas share a PostgreSQL (BARTIZAN_CP_STORE)"
            ) from None
        yield


def replica_name(state_dir: Path) -> str:
    """Our name among the replicas, the same after a restart."""
    path = state_dir / "replica"
    known = path.read_text(encoding="ascii").strip() if path.exists() else ""
    if known:
        return known
    # Whole or not at all: one that a crash left empty would be the name of every replica that it happened to.
    made = f"replica-{secrets.token_hex(6)}"
    _replace(path, made + "\n")
    return made


def write_ca(state_dir: Path, roots_pem: Iterable[str]) -> None:
    """ca.pem: what clients of the API on this machine verify us with. On a full disk they keep the one they have."""
    try:
        _replace(state_dir / "ca.pem", "".join(roots_pem))
    except OSError as error:
        _log.warning("ca_not_written", file=str(state_dir / "ca.pem"), reason=error.strerror)


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
