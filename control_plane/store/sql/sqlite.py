"""SQLite below SQLAlchemy: one connection, and one trip to its thread for each statement, the first with its BEGIN.

The driver alone makes four (cursor, execute, fetch, close). Each wakes two threads one after the other, which on a busy
machine takes longer than the statement does.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import aiosqlite
from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from control_plane.store.sql.transaction import BUSY_MILLISECONDS

T = TypeVar("T")


def engine(url: URL) -> AsyncEngine:
    """One connection per process (store.py says why)."""
    made = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=10,
        connect_args={"async_creator_fn": _connect},
    )
    event.listen(made.sync_engine, "connect", _prepare)
    event.listen(made.sync_engine, "begin", _begin)
    return made


def _prepare(connection: Any, _record: object) -> None:
    # The driver's own implicit BEGIN comes too late (after the first read) and not at all for DDL.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "foreign_keys=ON",
        "synchronous=FULL",
        f"busy_timeout={BUSY_MILLISECONDS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    driver: _Connection = connection.connection.driver_connection  # type: ignore[assignment]
    driver.begins = True


@dataclass(frozen=True, slots=True)
class _Outcome:
    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    rows: tuple[Any, ...] = ()


class _Cursor:
    """What SQLAlchemy's adapter asks of a driver's cursor. It reads all rows next, so they come with the statement."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._outcome = _Outcome()

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        return self._outcome.description

    @property
    def rowcount(self) -> int:
        return self._outcome.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._outcome.lastrowid

    async def execute(self, statement: str, parameters: Any = ()) -> None:
        await self._run(lambda connection: connection.execute(statement, parameters))

    async def executemany(self, statement: str, parameters: Iterable[Any]) -> None:
        await self._run(lambda connection: connection.executemany(statement, parameters))

    async def fetchall(self) -> tuple[Any, ...]:
        return self._outcome.rows

    async def close(self) -> None:
        """Nothing is left open."""

    async def _run(self, statement: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> None:
        def whole(connection: sqlite3.Connection) -> _Outcome:
            self._connection.begin_if_due(connection)
            with contextlib.closing(statement(connection)) as cursor:
                rows = () if cursor.description is None else tuple(cursor.fetchall())
                return _Outcome(cursor.description, cursor.rowcount, cursor.lastrowid, rows)

        self._outcome = await self._connection.run(whole)


class _Connection(aiosqlite.Connection):
    begins = False
    """The next statement is the first of a transaction."""

    def begin_if_due(self, connection: sqlite3.Connection) -> None:
        """Where the lock can't be had, it stays due."""
        if self.begins:
            connection.execute("BEGIN IMMEDIATE").close()
            self.begins = False

    def cursor(self) -> _Cursor:  # type: ignore[override]
        return _Cursor(self)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In the connection's thread."""
        made: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return made

    async def commit(self) -> None:
        self.begins = False
        if self.in_transaction:
            await super().commit()

    async def rollback(self) -> None:
        """SQLAlchemy asks for it whenever a connection comes back to its pool."""
        self.begins = False
        if self.in_transaction:
            await super().rollback()


def _connect(database: str, **options: Any) -> _Connection:
    connection = _Connection(partial(sqlite3.connect, database, **options), iter_chunk_size=64)
    # As SQLAlchemy has it where it makes the connection: nobody waits for a thread that waits for work.
    connection._thread.daemon = True  # noqa: SLF001
    return connection
