"""A transaction of SQLite no statement of which is cut off: callers are cancelled whenever a client or sidecar goes.

A statement that is cut off costs its connection, and what is left of that holds SQLite's lock until the collector comes
to it: everybody else is told meanwhile that the database is locked. PostgreSQL ends what a lost connection held by
itself, and there a replica must be able to give up on a silent server at once (push/replicas.py).

A lock that another process holds is therefore waited for in short statements, between which a caller can be cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bartizan import tasks
from bartizan.tasks import finish

TURN_SECONDS = 10.0
LOCKED_SECONDS = 5.0
BUSY_MILLISECONDS = 100
"""So long one statement waits for another process's lock."""


class _Connection(AsyncConnection):
    """Its statements come to their end before a cancelled caller goes on. The first begins the transaction (sqlite.py), and
    so may find the file locked.
    """

    async def execute(self, *arguments: Any, **more: Any) -> Any:
        loop = asyncio.get_running_loop()
        until = loop.time() + LOCKED_SECONDS
        while True:
            try:
                return await finish(super().execute(*arguments, **more), name="sql")
            except OperationalError as error:
                if "locked" not in str(error.orig) or loop.time() >= until:
                    raise

    async def run_sync(self, *arguments: Any, **more: Any) -> Any:
        await self.execute(text("SELECT 1"))  # what is run now can't wait for a lock
        return await super().run_sync(*arguments, **more)


@asynccontextmanager
async def turn(of: asyncio.Lock) -> AsyncIterator[None]:
    """SQLite's one connection is ours. Not the pool's own queue, in which a cancelled caller would have to stay."""
    try:
        async with tasks.timeout(TURN_SECONDS):
            await of.acquire()
    except TimeoutError:
        raise PoolTimeout("others use the connection") from None
    try:
        yield
    finally:
        of.release()


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Committed at the end of the block, rolled back on any exception. Within its `turn`, where others use the engine."""
    connection = _Connection(engine)
    try:
        await finish(_start(connection), name="sql-connect")
        begun = connection.begin()
        await finish(_start(begun), name="sql-begin")
        try:
            yield connection
        except BaseException:
            if begun.is_active:
                await finish(begun.rollback(), name="sql-rollback")
            raise
        await finish(begun.commit(), name="sql-commit")
    finally:
        if connection.sync_connection is not None:
            await finish(connection.close(), name="sql-close")


async def _start(what: Any) -> None:
    await what.start()
