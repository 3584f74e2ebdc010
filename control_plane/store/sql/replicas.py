"""Who shares the store, in SQL. Whether one is alive is told by the store's clock alone."""

from __future__ import annotations

import math

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.store.sql.tables import REPLICAS

_KEPT_SECONDS = 86400.0


class SqlReplicas:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def beat(self, name: str, *, now: float, life: float, knows_at: float = 0.0) -> None:
        table, sign = REPLICAS.c, {"expires_at": now + life, "knows_at": knows_at}
        again = await self._connection.execute(update(REPLICAS).where(table.name == name).values(**sign))
        if not again.rowcount:
            # Those that ended long ago are forgotten by the way.
            await self._connection.execute(delete(REPLICAS).where(table.expires_at < now - _KEPT_SECONDS))
            await self._connection.execute(insert(REPLICAS).values(name=name, **sign))

    async def alive(self, *, now: float) -> frozenset[str]:
        found = await self._connection.execute(select(REPLICAS.c.name).where(REPLICAS.c.expires_at > now))
        return frozenset(found.scalars())

    async def known(self, *, but: str, since: float) -> float:
        found = await self._connection.execute(
            select(func.min(REPLICAS.c.knows_at)).where(REPLICAS.c.name != but, REPLICAS.c.expires_at > since)
        )
        oldest = found.scalar_one()
        return math.inf if oldest is None else float(oldest)

    async def leave(self, name: str) -> None:
        await self._connection.execute(delete(REPLICAS).where(REPLICAS.c.name == name))
