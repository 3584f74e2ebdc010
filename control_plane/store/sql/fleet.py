"""Attested instances and their newest reports in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import RowMapping, and_, delete, insert, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.store.base import InstanceRow, ReportRow
from control_plane.store.sql.announce import Note
from control_plane.store.sql.tables import INSTANCE_REPORTS, INSTANCES


class SqlInstances:
    def __init__(self, connection: AsyncConnection, note: Note) -> None:
        self._connection = connection
        self._note = note

    async def add(self, row: InstanceRow) -> None:
        await self._connection.execute(
            insert(INSTANCES).values(
                instance_id=row.instance_id,
                spiffe_id=row.spiffe_id,
                namespace=row.namespace,
                labels=msgspec.json.encode(row.labels).decode(),
                created_at=row.created_at,
                pod_name=row.pod_name,
                pod_uid=row.pod_uid,
            )
        )
        self._note("instance", row.instance_id)

    async def get(self, instance_id: str) -> InstanceRow | None:
        found = await self._connection.execute(
            select(INSTANCES).where(INSTANCES.c.instance_id == instance_id)
        )
        row = found.mappings().one_or_none()
        return _instance(row) if row is not None else None

    async def all(
        self, *, removed: bool = False, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> Sequence[InstanceRow]:
        place = INSTANCES.c.created_at, INSTANCES.c.instance_id
        query = select(INSTANCES).order_by(*place).limit(limit)
        if after is not None:
            query = query.where(tuple_(*place) > after)
        if not removed:
            query = query.where(INSTANCES.c.removed_at.is_(None))
        found = await self._connection.execute(query)
        return [_instance(row) for row in found.mappings()]

    async def ids(self) -> frozenset[str]:
        found = await self._connection.execute(
            select(INSTANCES.c.instance_id).where(INSTANCES.c.removed_at.is_(None))
        )
        return frozenset(found.scalars())

    async def of_pod(self, pod_uid: str) -> Sequence[InstanceRow]:
        found = await self._connection.execute(
            select(INSTANCES).where(INSTANCES.c.pod_uid == pod_uid, INSTANCES.c.removed_at.is_(None))
        )
        return [_instance(row) for row in found.mappings()]

    async def remove(self, instance_id: str, *, at: float) -> bool:
        """False when there is no such instance or it was removed before."""
        done = await self._connection.execute(
            update(INSTANCES)
            .where(INSTANCES.c.instance_id == instance_id, INSTANCES.c.removed_at.is_(None))
            .values(removed_at=at)
        )
        self._note("instance", instance_id)
        return done.rowcount > 0

    async def put_reports(self, rows: Sequence[ReportRow], *, now: float) -> None:
        if not rows:
            return
        table = INSTANCE_REPORTS
        dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
        fresh = dialect.insert(table)
        columns = ("boot_id", "sequence", "received_at", "report", "replica", "live", "changed_at")
        # A replica that slept may come late with what it was told before: a process's numbers decide, and between
        # two processes of one sidecar the time.
        newer = or_(
            and_(table.c.boot_id == fresh.excluded.boot_id, table.c.sequence < fresh.excluded.sequence),
            and_(table.c.boot_id != fresh.excluded.boot_id, table.c.received_at < fresh.excluded.received_at),
        )
        await self._connection.execute(
            fresh.on_conflict_do_update(
                index_elements=["instance_id"],
                set_={name: fresh.excluded[name] for name in columns},
                where=newer,
            ),
            [
                {name: getattr(row, name) for name in row.__dataclass_fields__} | {"changed_at": now}
                # in one order, so that replicas never wait for each other in a circle
                for row in sorted(rows, key=lambda row: row.instance_id)
            ],
        )
        for row in rows:
            self._note("report", row.instance_id)

    async def silence(self, replica: str, instance_ids: Collection[str] | None, *, now: float) -> None:
        table = INSTANCE_REPORTS.c
        quiet = update(INSTANCE_REPORTS).where(table.replica == replica, table.live.is_(True))
        if instance_ids is not None:
            quiet = quiet.where(table.instance_id.in_(list(instance_ids)))
        done = await self._connection.execute(
            quiet.values(live=False, changed_at=now).returning(table.instance_id)
        )
        for instance_id in done.scalars():
            self._note("report", instance_id)

    async def reports(self, *, since: float = 0.0, of: Collection[str] | None = None) -> Sequence[ReportRow]:
        table = INSTANCE_REPORTS.c
        query = (
            select(*(table[name] for name in ReportRow.__dataclass_fields__))
            .join(INSTANCES, INSTANCES.c.instance_id == table.instance_id)
            .where(INSTANCES.c.removed_at.is_(None))
        )
        if since:
            query = query.where(table.changed_at >= since)
        if of is not None:
            query = query.where(table.instance_id.in_(list(of)))
        found = await self._connection.execute(query)
        return [ReportRow(**{**row, "report": bytes(row["report"])}) for row in found.mappings()]

    async def purge(self, *, before: float, limit: int) -> int:
        table = INSTANCES.c
        found = await self._connection.execute(
            select(table.instance_id).where(table.removed_at < before).limit(limit)
        )
        gone = list(found.scalars())
        for each in (INSTANCE_REPORTS, INSTANCES):
            await self._connection.execute(delete(each).where(each.c.instance_id.in_(gone)))
        return len(gone)


def _instance(row: RowMapping) -> InstanceRow:
    return InstanceRow(**{**row, "labels": msgspec.json.decode(row["labels"], type=dict[str, str])})
