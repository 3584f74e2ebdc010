"""Who may enter, in SQL: admin tokens, join tokens, and the record of admin acts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, RowMapping, String, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.store.base import AdminEvent, AdminTokenRow, EventQuery, JoinTokenRow
from control_plane.store.rows import JOIN_ID_LENGTH
from control_plane.store.sql.tables import ADMIN_EVENTS, ADMIN_TOKENS, BOOTSTRAP_TOKENS, JOIN_TOKENS

_EVENT_WIDTHS = {
    column.name: column.type.length
    for column in ADMIN_EVENTS.c
    if isinstance(column.type, String) and column.type.length
}


class SqlAdminTokens:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, row: AdminTokenRow) -> None:
        await self._connection.execute(
            insert(ADMIN_TOKENS).values(
                id=row.id,
                hash=row.hash,
                name=row.name,
                role=row.role,
                tenants=msgspec.json.encode(row.tenants).decode(),
                created_at=row.created_at,
                created_by=row.created_by,
                expires_at=row.expires_at,
            )
        )

    async def by_hash(self, digest: str) -> AdminTokenRow | None:
        found = await self._connection.execute(select(ADMIN_TOKENS).where(ADMIN_TOKENS.c.hash == digest))
        row = found.mappings().one_or_none()
        return _token(row) if row is not None else None

    async def all(self) -> Sequence[AdminTokenRow]:
        found = await self._connection.execute(
            select(ADMIN_TOKENS).order_by(ADMIN_TOKENS.c.created_at, ADMIN_TOKENS.c.id)
        )
        return [_token(row) for row in found.mappings()]

    async def touch(self, token_id: str, *, at: float) -> None:
        await self._connection.execute(
            update(ADMIN_TOKENS).where(ADMIN_TOKENS.c.id == token_id).values(used_at=at)
        )

    async def revoke(self, token_id: str, *, at: float) -> bool:
        """False when there is no such token or it was revoked before."""
        done = await self._connection.execute(
            update(ADMIN_TOKENS)
            .where(ADMIN_TOKENS.c.id == token_id, ADMIN_TOKENS.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        return done.rowcount > 0

    async def offer_bootstrap(self, digest: str, *, at: float) -> bool:
        found = await self._connection.execute(
            select(BOOTSTRAP_TOKENS).where(BOOTSTRAP_TOKENS.c.hash == digest)
        )
        known = found.mappings().one_or_none()
        if known is None:
            await self._connection.execute(insert(BOOTSTRAP_TOKENS).values(hash=digest, made_at=at))
        return known is None or known["spent_at"] is None

    async def is_bootstrap(self, digest: str) -> bool:
        table = BOOTSTRAP_TOKENS.c
        found = await self._connection.execute(
            select(table.hash).where(table.hash == digest, table.spent_at.is_(None))
        )
        return found.first() is not None

    async def spend_bootstrap(self, *, at: float) -> bool:
        """The update is the test: it holds every row until the commit, so of two tokens only one makes an admin."""
        done = await self._connection.execute(
            update(BOOTSTRAP_TOKENS).where(BOOTSTRAP_TOKENS.c.spent_at.is_(None)).values(spent_at=at)
        )
        return done.rowcount > 0


class SqlJoinTokens:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, row: JoinTokenRow) -> None:
        await self._connection.execute(
            insert(JOIN_TOKENS).values(
                hash=row.hash,
                spiffe_id=row.spiffe_id,
                labels=msgspec.json.encode(row.labels).decode(),
                created_at=row.created_at,
                created_by=row.created_by,
                expires_at=row.expires_at,
            )
        )

    async def open(self, *, at: float) -> Sequence[JoinTokenRow]:
        table = JOIN_TOKENS.c
        found = await self._connection.execute(
            select(JOIN_TOKENS).where(*_open(at)).order_by(table.created_at.desc(), table.hash)
        )
        return [_join_token(row) for row in found.mappings()]

    async def revoke(self, token_id: str, *, at: float) -> bool:
        """It ends now; the row stays for investigations as that of any other does."""
        called = func.substr(JOIN_TOKENS.c.hash, 1, JOIN_ID_LENGTH) == token_id
        done = await self._connection.execute(
            update(JOIN_TOKENS).where(called, *_open(at)).values(expires_at=at)
        )
        return done.rowcount > 0

    async def spend(self, digest: str, *, at: float) -> JoinTokenRow | None:
        """The update is the test: of two callers only one sees its row changed."""
        done = await self._connection.execute(
            update(JOIN_TOKENS).where(JOIN_TOKENS.c.hash == digest, *_open(at)).values(used_at=at)
        )
        if done.rowcount == 0:
            return None
        found = await self._connection.execute(select(JOIN_TOKENS).where(JOIN_TOKENS.c.hash == digest))
        return _join_token(found.mappings().one())

    async def purge(self, *, before: float) -> int:
        """Forget tokens that expired before that time."""
        done = await self._connection.execute(delete(JOIN_TOKENS).where(JOIN_TOKENS.c.expires_at < before))
        return done.rowcount


class SqlAdminEvents:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def record(self, event: AdminEvent) -> None:
        """Names that are longer than their columns are cut: PostgreSQL would refuse them, and with them the act."""
        names = {name: getattr(event, name)[:width] for name, width in _EVENT_WIDTHS.items()}
        detail = msgspec.json.encode(event.detail).decode()
        await self._connection.execute(insert(ADMIN_EVENTS).values(time=event.time, detail=detail, **names))

    async def recent(self, *, limit: int = 100) -> Sequence[AdminEvent]:
        """Newest first."""
        return await self.query(EventQuery(limit=limit))

    async def query(self, query: EventQuery) -> Sequence[AdminEvent]:
        """Newest first, as they were written."""
        table = ADMIN_EVENTS.c
        wanted = select(ADMIN_EVENTS).order_by(table.id.desc()).limit(query.limit)
        if query.since is not None:
            wanted = wanted.where(table.time >= query.since)
        if query.until is not None:
            wanted = wanted.where(table.time < query.until)
        if query.before is not None:
            wanted = wanted.where(table.id < query.before)
        if query.act:
            wanted = wanted.where(table.act == query.act)
        if query.target:
            wanted = wanted.where(table.target == query.target)
        if query.token:
            wanted = wanted.where(table.actor.endswith(f"({query.token})", autoescape=True))
        found = await self._connection.execute(wanted)
        return [
            AdminEvent(
                time=row["time"],
                actor=row["actor"],
                act=row["act"],
                target=row["target"],
                detail=msgspec.json.decode(row["detail"]),
                request_id=row["request_id"],
                peer=row["peer"],
                id=row["id"],
            )
            for row in found.mappings()
        ]


def _open(at: float) -> tuple[ColumnElement[bool], ...]:
    return JOIN_TOKENS.c.used_at.is_(None), JOIN_TOKENS.c.expires_at > at


def _join_token(row: RowMapping) -> JoinTokenRow:
    return JoinTokenRow(**{**row, "labels": msgspec.json.decode(row["labels"])})


def _token(row: RowMapping) -> AdminTokenRow:
    return AdminTokenRow(**{**row, "tenants": msgspec.json.decode(row["tenants"], type=tuple[str, ...])})
