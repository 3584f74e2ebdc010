"""Small files of the state folder: this replica's name, and the CA for clients on this machine."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path


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
