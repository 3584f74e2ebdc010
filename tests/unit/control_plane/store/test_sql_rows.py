"""Rows of the store: they come back as they went in, and audit records are found by every field."""

from __future__ import annotations

import dataclasses

from control_plane.store.base import (
    AdminEvent,
    AdminTokenRow,
    AuditQuery,
    AuditRow,
    InstanceRow,
    ReportRow,
    SecretRow,
)
from control_plane.store.sql.store import SqlStore


async def test_audit_records_are_stored_once_and_found_by_every_field(store: SqlStore) -> None:
    rows = [
        AuditRow(
            id=f"{number:02}",
            time=float(number),
            json="{}",
            tenant="acme" if number % 2 else "globex",
            policy="prod/chat",
            cause="no_key",
            action="deny",
            trace_id=f"t{number}",
        )
        for number in range(6)
    ]
    async with store.begin() as work:
        assert await work.audit.add(rows[:4]) == 4
        assert await work.audit.add(rows) == 2

        async def ids(query: AuditQuery) -> list[str]:
            return [row.id for row in await work.audit.query(query)]

        assert await ids(AuditQuery()) == ["05", "04", "03", "02", "01", "00"]
        assert await ids(AuditQuery(limit=2, before=(4.0, "04"))) == ["03", "02"]
        assert await ids(AuditQuery(tenants=("acme",))) == ["05", "03", "01"]
        assert await ids(AuditQuery(tenants=())) == []
        assert await ids(AuditQuery(since=2, until=4)) == ["03", "02"]
        assert await ids(AuditQuery(trace_id="t3", policy="prod/chat", cause="no_key", action="deny")) == [
            "03"
        ]
        assert await ids(AuditQuery(decision_id="01")) == ["01"]
        further = [dataclasses.replace(rows[1], id=name) for name in ("01-e", "01-a", "011", "01-x")]
        assert await work.audit.add(further) == 4
        for one in ("01", "01-e", "01-a"):
            assert await ids(AuditQuery(decision_id=one)) == ["01-e", "01-a", "01"]
        assert await ids(AuditQuery(policy="other")) == []


async def test_rows_come_back_as_they_went_in(store: SqlStore) -> None:
    instance = InstanceRow(
        instance_id="i", spiffe_id="spiffe://t/ns/a/sa/b", namespace="a", labels={"app": "x"}, created_at=1
    )
    report = ReportRow(instance_id="i", boot_id="b", sequence=1, received_at=2, report=b"\x00")
    token = AdminTokenRow(
        id="1",
        hash="h",
        name="n",
        role="auditor",
        tenants=("acme",),
        created_at=1,
        created_by="a",
        expires_at=9,
    )
    secret = SecretRow(name="s", definition="{}", created_at=1, created_by="a", updated_at=1)
    happened = AdminEvent(time=1, actor="a", act="x", target="t", detail={"n": 1}, request_id="r", peer="p")
    async with store.begin() as work:
        await work.instances.add(instance)
        await work.instances.put_reports([report], now=2)
        await work.instances.put_reports([report], now=2)
        await work.tokens.add(token)
        await work.secrets.put(secret)
        await work.secrets.put(secret)
        await work.events.record(happened)
        await work.tokens.touch("1", at=5)
    async with store.begin() as work:
        assert await work.instances.get("i") == instance
        assert await work.instances.reports() == [report]
        found = await work.tokens.by_hash("h")
        assert found is not None
        assert (found.tenants, found.used_at) == (("acme",), 5)
        assert await work.secrets.all() == [secret]
        assert await work.events.recent() == [happened]
        assert await work.instances.remove("i", at=3)
        assert not await work.instances.remove("i", at=3)
        assert await work.instances.all() == []
        assert len(await work.instances.all(removed=True)) == 1
        assert await work.tokens.revoke("1", at=6)
        assert not await work.tokens.revoke("1", at=6)
        assert await work.secrets.delete("s")
