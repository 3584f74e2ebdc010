"""Decision ids: 128 random bits in hex without meaning, drawn from the system in blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator

_BYTES = 16
_BLOCK = 256


def decision_ids() -> Iterator[str]:
    """Ids that were never given before. One thread."""
    while True:
        yield from os.urandom(_BYTES * _BLOCK).hex(" ", _BYTES).split(" ")
