"""The audit queue: order, batches, and a Gap for every record that was lost."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.agent.messages import AuditBatch, HandedIn
from sidecar.audit.queue import BATCH, AuditQueue
from sidecar.audit.record import AuditRecord, Gap, Record


def record(number: int) -> Record:
    return Record(
        id=str(number),
        time=float(number),
        policy="p",
        revision="1.1",
        source="guard",
        phase="authz",
        action="allow",
        cause="allowed",
        status=200,
    )


def queue(capacity: int, sent: list[AuditBatch | HandedIn]) -> AuditQueue:
    async def send(message: AuditBatch | HandedIn) -> None:
        sent.append(message)

    return AuditQueue(send=send, clock=lambda: 99.0, instance_id=lambda: "i1", capacity=capacity)


def decoded(batch: AuditBatch | None) -> list[AuditRecord]:
    encoded = batch.records if batch else ()
    return [msgspec.json.decode(item, type=AuditRecord) for item in encoded]


@given(
    st.lists(st.one_of(st.just("put"), st.just("take")), max_size=80), st.integers(min_value=1, max_value=5)
)
def test_every_record_is_sent_in_order_or_counted_in_a_gap(steps: list[str], capacity: int) -> None:
    tested = queue(capacity, [])
    out: list[AuditRecord] = []
    put = 0
    for step in [*steps, "take", "take"]:
        if step == "put":
            tested.put(record(put))
            put += 1
        else:
            out += decoded(tested.take())
    sent = [int(item.id) for item in out if isinstance(item, Record)]
    lost = sum(item.lost for item in out if isinstance(item, Gap))
    assert sent == sorted(sent)
    assert len(sent) + lost == put


def test_a_gap_says_how_many_since_when_and_why() -> None:
    tested = queue(1, [])
    for number in range(4):
        tested.put(record(number))
    assert [item.id for item in decoded(tested.take())] == ["0"]
    (gap,) = decoded(tested.take())
    assert isinstance(gap, Gap)
    assert (gap.lost, gap.since, gap.time, gap.reason, gap.instance_id) == (3, 1.0, 99.0, "queue_full", "i1")


async def test_closing_sends_what_waits_then_that_this_was_all_and_ends() -> None:
    sent: list[AuditBatch | HandedIn] = []
    tested = queue(10_000, sent)
    for number in range(2 * BATCH + 1):
        tested.put(record(number))
    tested.close()
    async with asyncio.timeout(5):
        await tested.run()
    *batches, last = sent
    assert last == HandedIn()
    records = [record for batch in batches if isinstance(batch, AuditBatch) for record in decoded(batch)]
    assert [int(item.id) for item in records] == list(range(2 * BATCH + 1))


async def test_records_that_come_while_others_are_sent_or_after_all_are_gone_are_sent_too() -> None:
    arrived = asyncio.Queue[int]()

    async def send(message: AuditBatch | HandedIn) -> None:
        assert isinstance(message, AuditBatch)
        for item in decoded(message):
            arrived.put_nowait(int(item.id))
            if item.id == "0":
                tested.put(record(1))  # while the other is sent

    tested = AuditQueue(send=send, clock=lambda: 99.0, instance_id=lambda: "i1")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task(tested.run())
        tested.put(record(0))
        assert [await arrived.get() for _ in range(2)] == [0, 1]
        await asyncio.sleep(0)  # it waits again
        for number in (2, 3):
            tested.put(record(number))
            assert await arrived.get() == number
        running.cancel()
