"""Local mode: one JSON record a line in a file of mode 0600, one older file kept, so that a disk can't fill up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from bartizan.errors import DependencyUnavailable

MAX_BYTES = 64 * 1024 * 1024


class FileSink:
    """Appends; rotates to `<name>.1`."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    async def store(self, records: Sequence[bytes]) -> int:
        """All or, when the disk does not take them, none."""
        try:
            await asyncio.to_thread(self._append, b"".join(record + b"\n" for record in records))
        except OSError as error:
            raise DependencyUnavailable(f"audit file: {error.strerror}") from error
        return len(records)

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._path.exists() and self._path.stat().st_size + len(data) > self._max_bytes:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(data)
