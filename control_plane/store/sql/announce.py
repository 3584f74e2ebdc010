"""Telling other replicas what a transaction changed: PostgreSQL's NOTIFY, sent with the commit and heard by LISTEN.

A hint and no more: what is lost is found by the next look at the store (push/replicas.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, get_args

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bartizan import tasks
from bartizan.telemetry.logging import get_logger
from control_plane.store.rows import Change, ChangeKind

CHANNEL = "bartizan"
_MOST_BYTES = 7000
"""PostgreSQL takes less than 8000 in one notification."""
_PING_SECONDS = 5.0
_AGAIN_SECONDS = 0.5
log = get_logger()


Note = Callable[[ChangeKind, str], None]


class Announcement:
    """What one transaction changed, gathered by the stores that write it."""

    def __init__(self) -> None:
        self._names: dict[ChangeKind, set[str]] = {}

    def note(self, kind: ChangeKind, name: str) -> None:
        self._names.setdefault(kind, set()).add(name)

    async def send(self, connection: AsyncConnection, origin: str) -> None:
        """With the transaction's commit, in its order. Nothing for a database that has one user."""
        if connection.dialect.name != "postgresql":
            return
        for payload in self.payloads(origin):
            await connection.execute(
                text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
            )

    def payloads(self, origin: str) -> list[str]:
        """One line each: who, which kind of thing, which ones."""
        return [
            f"{origin} {kind} {' '.join(piece)}"
            for kind, names in self._names.items()
            for piece in _pieces(sorted(names))
        ]


async def listen(engine: AsyncEngine, origin: str, tell: Callable[[Change], None]) -> None:
    """Until cancelled: tell of what others announce, and of "everything" whenever some of it may have been lost."""
    said = False
    while True:
        try:
            async with engine.connect() as connection:
                raw = await connection.get_raw_connection()
                try:
                    await _hear(raw.driver_connection, origin, tell)
                finally:
                    # It has a listener on it: not for others.
                    await connection.invalidate()
        except Exception as error:
            # SQLAlchemy's, the driver's or the system's: connect anew, look anew
            if not said:
                log.warning("changes_not_heard", reason=type(error).__name__)
            said = True
        else:
            said = False
        tell(Change(kind="everything"))
        await asyncio.sleep(_AGAIN_SECONDS)


async def _hear(driver: Any, origin: str, tell: Callable[[Change], None]) -> None:
    """Returns or raises when the connection is over, or silent."""
    over = asyncio.Event()

    def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        change = read(str(payload), origin)
        if change is not None:
            tell(change)

    driver.add_termination_listener(lambda _connection: over.set())
    await driver.add_listener(CHANNEL, heard)
    tell(Change(kind="everything"))
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            async with tasks.timeout(_PING_SECONDS):
                await over.wait()
                return
        async with tasks.timeout(_PING_SECONDS):
            await driver.execute("SELECT 1")


def read(payload: str, origin: str) -> Change | None:
    """None for what we sent ourselves, and for what no release of ours sends."""
    sender, _, rest = payload.partition(" ")
    kind, *names = rest.split(" ")
    if sender == origin or kind not in get_args(ChangeKind):
        return None
    return Change(kind=kind, names=frozenset(names))  # type: ignore[arg-type]


def _pieces(names: list[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    size = 0
    for name in names:
        if piece and size + len(name.encode()) + 1 > _MOST_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(name)
        size += len(name.encode()) + 1
    if piece:
        yield piece
