"""Decision records in SQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import and_, delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bartizan.policy import names
from control_plane.store.base import AuditQuery, AuditRow
from control_plane.store.sql.tables import AUDIT_RECORDS


def _records_of(decision_id: str) -> list[str]:
    """Ids of all records that one decision may have, given the id of any of them."""
    plain = decision_id.removesuffix(names.RECORD_ENVOY).removesuffix(names.RECORD_HEAD)
    return [plain, plain + names.RECORD_ENVOY, plain + names.RECORD_HEAD]


class SqlAudit:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, rows: Sequence[AuditRow]) -> int:
        """Sidecars send at least once: ids already stored are left alone."""
        unique = {row.id: row for row in rows}
        if not unique:
            return 0
        found = await self._connection.execute(
            select(AUDIT_RECORDS.c.id).where(AUDIT_RECORDS.c.id.in_(list(unique)))
        )
        known = set(found.scalars())
        fresh = [row for row in unique.values() if row.id not in known]
        if fresh:
            await self._connection.execute(
                insert(AUDIT_RECORDS),
                [{name: getattr(row, name) for name in row.__dataclass_fields__} for row in fresh],
            )
        return len(fresh)

    async def query(self, query: AuditQuery) -> Sequence[AuditRow]:
        table = AUDIT_RECORDS.c
        wanted = select(AUDIT_RECORDS).order_by(table.time.desc(), table.id.desc()).limit(query.limit)
        if query.since is not None:
            wanted = wanted.where(table.time >= query.since)
        if query.until is not None:
            wanted = wanted.where(table.time < query.until)
        if query.tenants is not None:
            wanted = wanted.where(table.tenant.in_(query.tenants))
        if query.before is not None:
            time, record_id = query.before
            wanted = wanted.where(or_(table.time < time, and_(table.time == time, table.id < record_id)))
        for column, value in (
            (table.policy, query.policy),
            (table.cause, query.cause),
            (table.action, query.action),
            (table.trace_id, query.trace_id),
        ):
            if value:
                wanted = wanted.where(column == value)
        if query.decision_id:
            wanted = wanted.where(table.id.in_(_records_of(query.decision_id)))
        if query.key_id:
            said = table.json.contains(
                f'"key_id":{msgspec.json.encode(query.key_id).decode()}', autoescape=True
            )
            wanted = wanted.where(or_(table.key_id == query.key_id, and_(table.key_id.is_(None), said)))
        found = await self._connection.execute(wanted)
        return [AuditRow(**row) for row in found.mappings()]

    async def purge(self, *, before: float, limit: int) -> int:
        table = AUDIT_RECORDS.c
        oldest = select(table.id).where(table.time < before).order_by(table.time).limit(limit)
        done = await self._connection.execute(delete(AUDIT_RECORDS).where(table.id.in_(oldest)))
        return done.rowcount
