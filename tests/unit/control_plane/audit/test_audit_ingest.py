"""Audit records from sidecars: idempotent, bounded, of the verified instance, never lost in silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bartizan.errors import DependencyUnavailable, Forbidden, InvalidInput
from control_plane.audit import records
from control_plane.audit.ingest import MAX_RECORDS, AuditService
from control_plane.store.base import AuditQuery, InstanceRow
from control_plane.store.sql.store import SqlStore, open_store
from sidecar.audit import record as sidecar_record
from sidecar.audit.evidence import MAX_FINDINGS, finding_records
from sidecar.model.finding import Action, Finding

SPIFFE = "spiffe://prod.example/ns/prod/sa/chat"


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    made = await open_store()
    async with made.begin() as work:
        await work.instances.add(
            InstanceRow(instance_id="i1", spiffe_id=SPIFFE, namespace="prod", labels={}, created_at=1.0)
        )
    yield made
    await made.close()


def decision(number: int = 1, **changes: Any) -> bytes:
    facts: dict[str, Any] = {
        "id": f"{number:032x}",
        "time": time.time(),
        "policy": "prod/chat",
        "revision": "1.1",
        "source": "guard",
        "phase": "authn",
        "action": "deny",
        "cause": "no_credential",
        "status": 401,
        "tenant": "acme",
        "instance_id": "somebody-else",
        "findings": (sidecar_record.FindingRecord(check="pii", kind="email", action="redact"),),
    }
    return msgspec.json.encode(sidecar_record.Record(**{**facts, **changes}), order="deterministic")


async def stored(store: SqlStore) -> list[dict[str, Any]]:
    async with store.begin() as work:
        return [msgspec.json.decode(row.json) for row in await work.audit.query(AuditQuery())]


async def test_a_batch_sent_twice_is_stored_once_under_the_verified_instance(store: SqlStore) -> None:
    service = AuditService(store)
    for _ in range(2):
        assert await service.take("i1", SPIFFE, [decision(1), decision(2)]) in {0, 2}
    found = await stored(store)
    assert len(found) == 2
    assert {record["instance_id"] for record in found} == {"i1"}
    assert found[0]["findings"] == [{"check": "pii", "kind": "email", "action": "redact"}]


async def test_a_record_of_more_findings_than_fit_is_kept_with_the_strongest(store: SqlStore) -> None:
    seen = [
        Finding(check="pii", kind="email", action=Action.FLAG, location=f"messages[{number}].content")
        for number in range(1000)
    ]
    denied = Finding(
        check="canary",
        kind="canary:" + "t" * 100,
        action=Action.DENY,
        location="x" * 1000,
        direction="response",
    )
    reasons = ",".join(f"reason_number_{number}" for number in range(20))
    await AuditService(store).take(
        "i1", SPIFFE, [decision(findings=finding_records([*seen, denied]), unscanned_reason=reasons)]
    )
    [found] = await stored(store)
    assert len(found["findings"]) == MAX_FINDINGS
    assert (found["findings"][0]["kind"], found["findings"][0]["direction"]) == (denied.kind, "response")
    assert found["findings"][-1]["kind"] == "more_findings"
    assert found["unscanned_reason"] == reasons


async def test_a_sidecars_gap_is_kept(store: SqlStore) -> None:
    gap = sidecar_record.Gap(id="a" * 32, time=5.0, since=4.0, lost=7, reason="queue_full")
    await AuditService(store).take("i1", SPIFFE, [msgspec.json.encode(gap)])
    [found] = await stored(store)
    assert (found["type"], found["lost"], found["reason"]) == ("gap", 7, "queue_full")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"type":"other"}',
        decision(status=-1),
        decision(id="not hexadecimal !"),
        decision(detail="x" * 1000),
        decision(trace_id="'; drop table"),
        decision(time=time.time() + 1e6),
        decision(action="explode"),
        b'{"x":"' + b"a" * records.MAX_RECORD_BYTES + b'"}',
    ],
    ids=lambda value: repr(value[:12]),
)
async def test_what_is_no_record_becomes_a_gap_and_the_rest_is_kept(store: SqlStore, bad: bytes) -> None:
    service = AuditService(store)
    for _ in range(2):
        assert await service.take("i1", SPIFFE, [decision(1), bad]) in {0, 2}
    found = {record["type"]: record for record in await stored(store)}
    assert found["gap"]["lost"] == 1
    assert found["gap"]["reason"] == "invalid_record"
    assert found["decision"]["cause"] == "no_credential"


async def test_a_flood_of_one_sidecar_takes_one_place_at_the_store(store: SqlStore) -> None:
    service = AuditService(store)
    sent = [service.take("i1", SPIFFE, [decision(number)]) for number in range(20)]
    ended = await asyncio.gather(*sent, return_exceptions=True)
    assert [each for each in ended if not isinstance(each, DependencyUnavailable)] == [1]
    with pytest.raises(Forbidden):
        await service.take("i1", SPIFFE + "x", [decision()])
    assert await service.take("i1", SPIFFE, [decision(30)]) == 1


def test_a_nul_in_a_callers_tenant_is_in_the_record_and_in_no_column() -> None:
    """PostgreSQL takes it in no text: the sidecar would send the batch again and again."""
    [row] = records.rows([decision(tenant="a\0b")], "i1", time.time())
    assert row.tenant == "a\ufffdb"
    assert msgspec.json.decode(row.json)["tenant"] == "a\0b"
    assert "\0" not in row.json


async def test_fields_that_are_not_known_are_not_kept(store: SqlStore) -> None:
    raw = msgspec.json.decode(decision())
    await AuditService(store).take("i1", SPIFFE, [msgspec.json.encode({**raw, "prompt": "text"})])
    assert "prompt" not in (await stored(store))[0]


@pytest.mark.parametrize(
    ("instance", "peer"), [("i2", SPIFFE), ("i1", SPIFFE + "x"), ("i1", None), ("", SPIFFE)]
)
async def test_only_the_instances_own_certificate_may_hand_in_its_records(
    store: SqlStore, instance: str, peer: str | None
) -> None:
    with pytest.raises(Forbidden):
        await AuditService(store).take(instance, peer, [decision()])


async def test_a_batch_is_bounded(store: SqlStore) -> None:
    with pytest.raises(InvalidInput):
        await AuditService(store).take("i1", SPIFFE, [b""] * (MAX_RECORDS + 1))


def test_both_sides_know_the_same_fields() -> None:
    for ours, theirs in (
        (records.Decision, sidecar_record.Record),
        (records.Gap, sidecar_record.Gap),
        (records.FindingRecord, sidecar_record.FindingRecord),
    ):
        assert ours.__struct_fields__ == theirs.__struct_fields__
