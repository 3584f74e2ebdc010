"""Small files of the state folder: who uses it, this replica's name, and the CA for clients on this machine."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bartizan.errors import DependencyRefused


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
    if not path.exists():
        path.write_text(f"replica-{secrets.token_hex(6)}\n", encoding="ascii")
    return path.read_text(encoding="ascii").strip()


def write_ca(state_dir: Path, roots_pem: Iterable[str]) -> None:
    """ca.pem: what clients of the API on this machine verify us with."""
    partial = state_dir / "ca.partial"
    partial.write_text("".join(roots_pem), encoding="ascii")
    partial.replace(state_dir / "ca.pem")
