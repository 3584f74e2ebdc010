"""Records go after their time, in bounded pieces, and that they went is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from control_plane.audit.retention import DAY, Retention
from control_plane.store.base import AuditQuery, AuditRow, InstanceRow, ReportRow
from control_plane.store.sql.store import SqlStore, open_store

NOW = 1_000 * DAY


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    made = await open_store()
    rows = [
        AuditRow(id=f"{age:032x}", time=NOW - age * DAY - 1, json="{}", instance_id="i", received_at=NOW)
        for age in range(100)
    ]
    async with made.begin() as work:
        await work.audit.add(rows)
    yield made
    await made.close()


async def kept(store: SqlStore) -> int:
    async with store.begin() as work:
        return len(await work.audit.query(AuditQuery(limit=1000)))


async def test_old_records_go_in_pieces_and_leave_a_trace(store: SqlStore) -> None:
    retention = Retention(store, 90, clock=lambda: NOW)
    assert await retention.expire(piece=4) == 10
    assert await kept(store) == 90
    async with store.begin() as work:
        events = await work.events.recent()
    assert [(event.act, event.detail["deleted"]) for event in events] == [
        ("audit.expire", 2),
        ("audit.expire", 4),
        ("audit.expire", 4),
    ]
    assert await retention.expire() == 0


def instance(number: int) -> InstanceRow:
    return InstanceRow(
        instance_id=f"i{number}", spiffe_id="spiffe://t/ns/n/sa/a", namespace="n", labels={}, created_at=1.0
    )


async def test_removed_sidecars_are_forgotten_when_their_records_are(store: SqlStore) -> None:
    """A cluster makes new ones every day, each with a last report that would be read at every start."""
    async with store.begin() as work:
        for number in range(8):
            await work.instances.add(instance(number))
            if number:
                await work.instances.remove(f"i{number}", at=NOW - (86 + number) * DAY - 1)
        rows = [
            ReportRow(instance_id=f"i{number}", boot_id="b", sequence=1, received_at=1.0, report=b"")
            for number in range(8)
        ]
        await work.instances.put_reports(rows, now=1.0)
        assert [row.instance_id for row in await work.instances.reports()] == ["i0"]
    await Retention(store, 90, clock=lambda: NOW).expire(piece=2)
    async with store.begin() as work:
        left = await work.instances.all(removed=True)
    assert [row.instance_id for row in left] == ["i0", "i1", "i2", "i3"]


async def test_zero_days_keep_everything(store: SqlStore) -> None:
    assert await Retention(store, 0, clock=lambda: NOW).expire() == 0
    assert await kept(store) == 100
