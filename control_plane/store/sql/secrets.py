"""Secret definitions, the rotation journal and leases in SQL. No value of a secret ever comes here."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.store.base import LeaseRow, RotationRow, SecretRow
from control_plane.store.sql.announce import Note
from control_plane.store.sql.tables import LEASES, ROTATIONS, SECRETS


class SqlSecrets:
    def __init__(self, connection: AsyncConnection, note: Note) -> None:
        self._connection = connection
        self._note = note

    async def put(self, row: SecretRow) -> None:
        known = await self._connection.execute(
            update(SECRETS)
            .where(SECRETS.c.name == row.name)
            .values(definition=row.definition, updated_at=row.updated_at)
        )
        if known.rowcount == 0:
            await self._connection.execute(
                insert(SECRETS).values(
                    name=row.name,
                    definition=row.definition,
                    created_at=row.created_at,
                    created_by=row.created_by,
                    updated_at=row.updated_at,
                )
            )
        self._note("rotation", row.name)

    async def get(self, name: str) -> SecretRow | None:
        found = await self._connection.execute(select(SECRETS).where(SECRETS.c.name == name))
        row = found.mappings().one_or_none()
        return SecretRow(**row) if row is not None else None

    async def all(self) -> Sequence[SecretRow]:
        found = await self._connection.execute(select(SECRETS).order_by(SECRETS.c.name))
        return [SecretRow(**row) for row in found.mappings()]

    async def delete(self, name: str) -> bool:
        done = await self._connection.execute(delete(SECRETS).where(SECRETS.c.name == name))
        return done.rowcount > 0


class SqlRotations:
    def __init__(self, connection: AsyncConnection, note: Note) -> None:
        self._connection = connection
        self._note = note
        self._dialect = postgresql if connection.dialect.name == "postgresql" else sqlite

    async def load(self, secret: str) -> RotationRow | None:
        found = await self._connection.execute(select(ROTATIONS).where(ROTATIONS.c.secret == secret))
        row = found.mappings().one_or_none()
        return _rotation(row) if row is not None else None

    async def all(self) -> Sequence[RotationRow]:
        found = await self._connection.execute(select(ROTATIONS).order_by(ROTATIONS.c.secret))
        return [_rotation(row) for row in found.mappings()]

    async def compare_and_set(self, row: RotationRow, expected_version: int) -> bool:
        self._note("rotation", row.secret)
        if row.version <= expected_version:
            raise ValueError("a journal row's version only rises")
        values = {
            "row_version": row.version,
            "intent": row.intent,
            "phase": row.phase,
            "state": row.state,
            "updated_at": row.updated_at,
        }
        done = await self._connection.execute(
            update(ROTATIONS)
            .where(ROTATIONS.c.secret == row.secret, ROTATIONS.c.row_version == expected_version)
            .values(**values)
        )
        if done.rowcount:
            return True
        if expected_version != 0 or await self.load(row.secret) is not None:
            return False
        fresh = self._dialect.insert(ROTATIONS).values(secret=row.secret, **values)
        return (await self._connection.execute(fresh.on_conflict_do_nothing())).rowcount > 0


class SqlLeases:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._dialect = postgresql if connection.dialect.name == "postgresql" else sqlite

    async def acquire(self, name: str, holder: str, *, now: float, ttl: float) -> LeaseRow | None:
        """Take or extend the lease; None while somebody else holds it. A new holder gets a higher fence."""
        extended = await self._connection.execute(
            update(LEASES)
            .where(LEASES.c.name == name, LEASES.c.holder == holder, LEASES.c.active.is_(True))
            .where(LEASES.c.expires_at > now)
            .values(expires_at=now + ttl)
        )
        if extended.rowcount == 0:
            taken = await self._connection.execute(
                update(LEASES)
                .where(LEASES.c.name == name, or_(LEASES.c.active.is_(False), LEASES.c.expires_at <= now))
                .values(holder=holder, fence=LEASES.c.fence + 1, expires_at=now + ttl, active=True)
            )
            if taken.rowcount == 0:
                fresh = self._dialect.insert(LEASES).values(
                    name=name, holder=holder, fence=1, expires_at=now + ttl, active=True
                )
                if not (await self._connection.execute(fresh.on_conflict_do_nothing())).rowcount:
                    return None
        found = await self._connection.execute(select(LEASES).where(LEASES.c.name == name))
        row = found.mappings().one()
        return LeaseRow(name=name, holder=row["holder"], fence=row["fence"], expires_at=row["expires_at"])

    async def release(self, name: str, holder: str) -> None:
        await self._connection.execute(
            update(LEASES).where(LEASES.c.name == name, LEASES.c.holder == holder).values(active=False)
        )


def _rotation(row: RowMapping) -> RotationRow:
    return RotationRow(
        secret=row["secret"],
        version=row["row_version"],
        intent=row["intent"],
        phase=row["phase"],
        state=row["state"],
        updated_at=row["updated_at"],
    )
