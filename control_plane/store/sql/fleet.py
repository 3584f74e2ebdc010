"""Attested instances and their newest reports in SQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.store.base import InstanceRow, ReportRow
from control_plane.store.sql.tables import INSTANCE_REPORTS, INSTANCES


class SqlInstances:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

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

    async def get(self, instance_id: str) -> InstanceRow | None:
        found = await self._connection.execute(
            select(INSTANCES).where(INSTANCES.c.instance_id == instance_id)
        )
        row = found.mappings().one_or_none()
        return _instance(row) if row is not None else None

    async def all(self, *, removed: bool = False) -> Sequence[InstanceRow]:
        query = select(INSTANCES).order_by(INSTANCES.c.created_at, INSTANCES.c.instance_id)
        if not removed:
            query = query.where(INSTANCES.c.removed_at.is_(None))
        found = await self._connection.execute(query)
        return [_instance(row) for row in found.mappings()]

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
        return done.rowcount > 0

    async def put_report(self, row: ReportRow) -> None:
        values = {
            "boot_id": row.boot_id,
            "sequence": row.sequence,
            "received_at": row.received_at,
            "report": row.report,
        }
        known = await self._connection.execute(
            update(INSTANCE_REPORTS).where(INSTANCE_REPORTS.c.instance_id == row.instance_id).values(**values)
        )
        if known.rowcount == 0:
            await self._connection.execute(
                insert(INSTANCE_REPORTS).values(instance_id=row.instance_id, **values)
            )

    async def reports(self) -> Sequence[ReportRow]:
        found = await self._connection.execute(select(INSTANCE_REPORTS))
        return [ReportRow(**{**row, "report": bytes(row["report"])}) for row in found.mappings()]


def _instance(row: RowMapping) -> InstanceRow:
    return InstanceRow(**{**row, "labels": msgspec.json.decode(row["labels"], type=dict[str, str])})
