"""Where audit records go. A sink stores a batch in order or says that it can't now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Sink(Protocol):
    async def store(self, records: Sequence[bytes]) -> int:
        """How many of the batch are stored, in order; the rest is offered again. Each is one record's canonical JSON.

        Raises DependencyError when nothing could be stored now.
        """
