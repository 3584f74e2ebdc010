"""What an ending agent could not ship, for its successor: a bounded file of mode 0600, one record a line.

Records hold no secrets, so it needs no seal. It stays until its records are shipped; the control plane drops ids that
it knows already.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from sidecar.agent.sealed import write_atomically
from sidecar.audit.record import Gap

MAX_BYTES = 16 * 1024 * 1024
_GAP_BYTES = 512

log = get_logger()


class Spool:
    """One file. Its calls block; they are made at the start and at the end of a process."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def read(self) -> list[bytes] | None:
        """What the predecessor left, oldest first; None where something lies there that can't be read."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                data = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            log.error("audit_spool_unreadable", reason=error.strerror or type(error).__name__)
            return None
        if len(data) > self._max_bytes:
            log.error("audit_spool_unreadable", reason="too_large")
            return None
        return [line for line in data.split(b"\n") if line]

    def write(self, records: Sequence[bytes], gaps: Sequence[Gap], instance_id: str) -> int:
        """Replace the file; returns how many records found no room: one more gap names them. Gaps always find room."""
        kept, size = [], _GAP_BYTES * (len(gaps) + 1)
        for record in records:
            if size + len(record) + 1 > self._max_bytes:
                break
            kept.append(record)
            size += len(record) + 1
        dropped = len(records) - len(kept)
        if dropped:
            now = time.time()
            full = Gap(
                id=secrets.token_hex(16),
                time=now,
                since=now,
                lost=dropped,
                reason="spool_full",
                instance_id=instance_id,
            )
            gaps = (*gaps, full)
        kept += [msgspec.json.encode(gap, order="deterministic") for gap in gaps]
        if not kept:
            self.clear()
            return 0
        try:
            write_atomically(self._path, b"".join(record + b"\n" for record in kept))
        except OSError as error:
            reason, lost = error.strerror or type(error).__name__, sum(gap.lost for gap in gaps)
            log.error("audit_not_spooled", reason=reason, count=len(records) - dropped + lost)
            dropped = len(records)
        if dropped:
            metrics.AUDIT_LOST.inc(dropped)
        return dropped

    def clear(self) -> None:
        """All of it is shipped."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("audit_spool_stays", reason=error.strerror or type(error).__name__)
