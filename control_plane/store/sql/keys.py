"""API-key sets in SQL: every change of a set is a new version with its cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import RowMapping, and_, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.errors import NotFound
from bartizan.policy.keyset import KeyRecord, KeySet
from control_plane.store.base import KeyRow, KeySetRow
from control_plane.store.sql.announce import Note
from control_plane.store.sql.tables import API_KEYS, KEY_SET_VERSIONS, KEY_SETS


class SqlKeySets:
    def __init__(self, connection: AsyncConnection, announce: Note) -> None:
        self._connection = connection
        self._announce = announce

    async def ensure(self, name: str, *, at: float, by: str) -> bool:
        """True when the set is new; its first version is 1."""
        if await self._version(name) is not None:
            return False
        dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
        fresh = dialect.insert(KEY_SETS).values(name=name, version=1, created_at=at, created_by=by)
        if not (await self._connection.execute(fresh.on_conflict_do_nothing())).rowcount:
            return False  # another replica has just made it
        await self._note(name, 1, "created", at=at, by=by)
        return True

    async def rows(self, name: str = "") -> Sequence[KeySetRow]:
        sets, change = KEY_SETS.c, KEY_SET_VERSIONS.c
        kept = select(func.count()).where(API_KEYS.c.key_set == sets.name, API_KEYS.c.revoked_at.is_(None))
        wanted = (
            select(
                sets.name,
                sets.version,
                kept.scalar_subquery().label("keys"),
                func.coalesce(change.cause, "").label("cause"),
                func.coalesce(change.changed_at, 0.0).label("changed_at"),
                func.coalesce(change.changed_by, "").label("changed_by"),
            )
            .outerjoin(KEY_SET_VERSIONS, and_(change.key_set == sets.name, change.version == sets.version))
            .order_by(sets.name)
        )
        found = await self._connection.execute(wanted.where(sets.name == name) if name else wanted)
        return [KeySetRow(**row) for row in found.mappings()]

    async def versions(self) -> Mapping[str, int]:
        found = await self._connection.execute(select(KEY_SETS.c.name, KEY_SETS.c.version))
        return {row.name: row.version for row in found}

    async def get(self, name: str) -> KeySet | None:
        version = await self._version(name)
        if version is None:
            return None
        rows = await self.keys(name)
        return KeySet(name=name, version=version, keys=tuple(row.record for row in rows))

    async def keys(
        self, name: str, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> Sequence[KeyRow]:
        place = API_KEYS.c.created_at, API_KEYS.c.id
        query = select(API_KEYS).where(API_KEYS.c.key_set == name).order_by(*place).limit(limit)
        if after is not None:
            query = query.where(tuple_(*place) > after)
        found = await self._connection.execute(query)
        return [_key(row) for row in found.mappings()]

    async def add_key(self, row: KeyRow) -> int:
        record = row.record
        version = await self._raise(row.key_set, "issued", at=row.created_at, by=row.created_by)
        await self._connection.execute(
            insert(API_KEYS).values(
                key_set=row.key_set,
                id=record.id,
                hash=record.hash,
                tenant=record.tenant,
                plan=record.plan,
                region=record.region,
                models=msgspec.json.encode(record.models).decode(),
                created_at=row.created_at,
                created_by=row.created_by,
                expires_at=record.expires_at,
            )
        )
        return version

    async def revoke(self, name: str, key_id: str, *, at: float, by: str) -> int | None:
        """The set's new version; None when there is no such key or it was revoked before."""
        done = await self._connection.execute(
            update(API_KEYS)
            .where(API_KEYS.c.key_set == name, API_KEYS.c.id == key_id, API_KEYS.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        return await self._raise(name, "revoked", at=at, by=by) if done.rowcount else None

    async def _version(self, name: str) -> int | None:
        found = await self._connection.execute(select(KEY_SETS.c.version).where(KEY_SETS.c.name == name))
        version: int | None = found.scalar_one_or_none()
        return version

    async def _raise(self, name: str, cause: str, *, at: float, by: str) -> int:
        await self._connection.execute(
            update(KEY_SETS).where(KEY_SETS.c.name == name).values(version=KEY_SETS.c.version + 1)
        )
        version = await self._version(name)
        if version is None:
            raise NotFound(f"no key set {name}")
        await self._note(name, version, cause, at=at, by=by)
        return version

    async def _note(self, name: str, version: int, cause: str, *, at: float, by: str) -> None:
        await self._connection.execute(
            insert(KEY_SET_VERSIONS).values(
                key_set=name, version=version, cause=cause, changed_at=at, changed_by=by
            )
        )
        self._announce("key_set", name)


def _key(row: RowMapping) -> KeyRow:
    return KeyRow(
        key_set=row["key_set"],
        record=KeyRecord(
            id=row["id"],
            hash=row["hash"],
            tenant=row["tenant"],
            plan=row["plan"],
            region=row["region"],
            models=msgspec.json.decode(row["models"], type=tuple[str, ...]),
            expires_at=row["expires_at"],
            revoked=row["revoked_at"] is not None,
        ),
        created_at=row["created_at"],
        created_by=row["created_by"],
    )
