"""A transaction of SQLite no statement of which is cut off: callers are cancelled whenever a client or sidecar goes.

A statement that is cut off costs its connection, and what is left of that holds SQLite's lock until the collector comes
to it: everybody else is told meanwhile that the database is locked. PostgreSQL ends what a lost connection held by
itself, and there a replica must be able to give up on a silent server at once (push/replicas.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bartizan.tasks import finish


class _Connection(AsyncConnection):
    """Its statements come to their end before a cancelled caller goes on."""

    async def execute(self, *arguments: Any, **more: Any) -> Any:
        return await finish(super().execute(*arguments, **more), name="sql")


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Committed at the end of the block, rolled back on any exception."""
    connection = _Connection(engine)
    try:
        await finish(_start(connection), name="sql-connect")
        begun = connection.begin()
        await finish(_start(begun), name="sql-begin")  # where it fails there is nothing to roll back
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
