"""Keeps what a handler leaves as evidence, all of it as records."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.audit.note import Note
from sidecar.audit.record import Record


def into(records: list[Record]) -> Callable[[Record | Note], None]:
    """What to give a handler as `audit`."""

    def keep(left: Record | Note) -> None:
        records.append(left.record if isinstance(left, Note) else left)

    return keep
