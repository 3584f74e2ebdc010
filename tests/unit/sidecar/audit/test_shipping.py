"""Audit shipping: in order, at least once, bounded, with a gap record for what was lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bartizan.errors import DependencyRefused, DependencyUnavailable
from sidecar.audit.record import Gap
from sidecar.audit.shipping import Shipping
from sidecar.audit.sinks.file import FileSink
from sidecar.audit.spool import Spool


class Store:
    """A sink that plays its script of answers, then takes everything."""

    def __init__(self, *script: int | Exception) -> None:
        self.script = list(script)
        self.stored: list[bytes] = []

    async def store(self, records: Sequence[bytes]) -> int:
        answer = self.script.pop(0) if self.script else len(records)
        if isinstance(answer, Exception):
            raise answer
        self.stored += records[:answer]
        return answer

    @property
    def gaps(self) -> list[Gap]:
        return [msgspec.json.decode(one, type=Gap) for one in self.stored if b'"gap"' in one]


def shipping(sink: Store, **bounds: Any) -> Shipping:
    return Shipping(sink, instance_id=lambda: "me", **bounds)


async def ship(made: Shipping, done: Callable[[], bool]) -> None:
    task = asyncio.get_running_loop().create_task(made.run())
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "script",
    [
        pytest.param((), id="a good sink"),
        pytest.param((DependencyUnavailable("away"), DependencyUnavailable("away")), id="away for a while"),
        pytest.param((2, 1), id="takes a part"),
    ],
)
async def test_records_arrive_in_order(script: tuple[int | Exception, ...]) -> None:
    sink = Store(*script)
    made = shipping(sink)
    records = [str(number).encode() for number in range(1200)]
    made.put(records)
    await ship(made, lambda: len(sink.stored) >= len(records))
    assert sink.stored == records


async def test_a_full_queue_loses_the_newest_and_says_how_many() -> None:
    told: list[bool] = []
    sink = Store()
    made = Shipping(sink, instance_id=lambda: "me", on_loss=told.append, max_records=2)
    made.put([b"1", b"2", b"3", b"4"])
    await ship(made, lambda: bool(sink.gaps))
    assert sink.stored[:2] == [b"1", b"2"]
    assert [(gap.lost, gap.reason, gap.instance_id) for gap in sink.gaps] == [(2, "queue_full", "me")]
    assert told == [True, False]


async def test_each_reason_has_a_gap_of_its_own_and_an_unknown_number_is_told_too() -> None:
    sink = Store(DependencyUnavailable("away"))
    made = shipping(sink)
    for count, reason in ((3, "access_log_full"), (0, "agent_ended"), (4, "access_log_full")):
        made.lose(count, reason)
    await ship(made, lambda: len(sink.gaps) >= 2)
    assert [(gap.reason, gap.lost) for gap in sink.gaps] == [("access_log_full", 7), ("agent_ended", 0)]


async def test_what_is_lost_while_a_gap_is_told_gets_one_of_its_own() -> None:
    class Losing(Store):
        async def store(self, records: Sequence[bytes]) -> int:
            if not self.stored:
                made.lose(0, "worker_ended")
            return await super().store(records)

    sink = Losing()
    made = shipping(sink)
    made.lose(0, "worker_ended")
    await ship(made, lambda: len(sink.gaps) >= 2)
    first, second = sink.gaps
    assert first.time <= second.since


@pytest.mark.parametrize("nothing", [DependencyUnavailable("no answer came"), 0])
async def test_a_gap_that_may_not_have_arrived_is_told_again_as_the_same_one(
    nothing: int | Exception, tmp_path: Path
) -> None:
    asked: list[bytes] = []

    class Noting(Store):
        async def store(self, records: Sequence[bytes]) -> int:
            asked.extend(records)
            return await super().store(records)

    sink = Noting(nothing, nothing)
    told: list[bool] = []
    spool = Spool(tmp_path / "audit.spool")
    made = shipping(sink, on_loss=told.append, spool=spool)
    made.lose(3, "queue_full")
    await made.close(60)
    assert spool.read() == asked
    await ship(made, lambda: bool(sink.gaps))
    assert len(asked) == 3
    assert len({msgspec.json.decode(one, type=Gap).id for one in asked}) == 1
    assert [gap.lost for gap in sink.gaps] == [3]
    assert told == [True, False]


async def test_memory_is_bounded_by_bytes_too() -> None:
    sink = Store()
    made = shipping(sink, max_bytes=10)
    made.put([b"x" * 8, b"y" * 8])
    await ship(made, lambda: bool(sink.gaps))
    assert sink.gaps[0].lost == 1


async def test_a_batch_that_is_refused_for_ever_becomes_a_gap_and_holds_up_nobody() -> None:
    sink = Store(DependencyRefused("bad"))
    made = shipping(sink)
    made.put([b"bad"])
    await ship(made, lambda: bool(sink.gaps))
    made.put([b"good"])
    await ship(made, lambda: b"good" in sink.stored)
    assert [(gap.lost, gap.reason) for gap in sink.gaps] == [(1, "refused")]


async def test_the_last_flush_ships_what_is_left_and_gives_up_in_time() -> None:
    sink = Store()
    made = shipping(sink)
    made.put([b"1"])
    await made.close(60)
    assert sink.stored == [b"1"]
    away = shipping(Store(*[DependencyUnavailable("away")] * 3))
    away.put([b"1"])
    await away.close(0.05)


class Frozen:
    """A sink that never answers."""

    async def store(self, records: Sequence[bytes]) -> int:
        await asyncio.Event().wait()
        return len(records)


@pytest.mark.parametrize("last", ["record", "gap"])
async def test_the_last_flush_finds_nothing_left_where_the_loop_was_shipping_the_last(last: str) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Store):
        async def store(self, records: Sequence[bytes]) -> int:
            asked.set()
            await go_on.wait()
            return await super().store(records)

    sink = Slow()
    made = shipping(sink)
    if last == "gap":
        made.lose(1, "queue_full")
    else:
        made.put([b"record"])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run())
        await asked.wait()
        closing = group.create_task(made.close(60))
        await asyncio.sleep(0)  # it waits for its turn now
        go_on.set()
        await closing
        running.cancel()
    assert len(sink.stored) == 1


async def test_what_could_not_be_shipped_is_left_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.spool"
    records = [str(number).encode() for number in range(700)]
    first = Shipping(Frozen(), instance_id=lambda: "me", spool=Spool(path))
    await first.restore()
    first.put(records)
    running = asyncio.get_running_loop().create_task(first.run())
    await asyncio.sleep(0.15)  # a batch is on its way and will never be answered
    await first.close(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert path.stat().st_mode & 0o777 == 0o600

    sink = Store(DependencyUnavailable("away"), 300)
    second = Shipping(sink, instance_id=lambda: "me", spool=Spool(path))
    await second.restore()
    second.put([b"new"])
    await ship(second, lambda: len(sink.stored) >= len(records) + 1)
    assert sink.stored == [*records, b"new"]
    assert not path.exists()
    await second.close(0.05)
    assert not path.exists()


async def test_a_spool_stays_until_all_of_it_is_shipped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "audit.spool")
    spool.write([b"1", b"2"], (), "me")
    made = Shipping(Store(1, *[DependencyUnavailable("away")] * 9), instance_id=lambda: "me", spool=spool)
    await made.restore()
    await made.close(0.01)
    assert spool.read() == [b"2"]


async def test_a_full_spool_keeps_the_oldest_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "audit.spool"
    made = Shipping(
        Frozen(), instance_id=lambda: "me", max_records=3, spool=Spool(path, max_bytes=3 * 512 + 2 * 10)
    )
    made.lose(0, "agent_ended")
    made.put([b"a" * 9, b"b" * 9, b"c" * 9, b"lost before"])
    await made.close(0.01)
    left = Spool(path).read()
    assert left is not None
    first, second, *gaps = left
    assert [first, second] == [b"a" * 9, b"b" * 9]
    named = [msgspec.json.decode(gap, type=Gap) for gap in gaps]
    assert [(gap.reason, gap.lost) for gap in named] == [
        ("agent_ended", 0),
        ("queue_full", 1),
        ("spool_full", 1),
    ]
    assert {gap.instance_id for gap in named} == {"me"}


async def test_a_disk_that_takes_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = Shipping(Frozen(), instance_id=lambda: "me", spool=Spool(tmp_path / "file" / "audit.spool"))
    await made.restore()
    made.put([b"1"])
    await made.close(0.01)


async def test_what_is_no_spool_of_ours_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.spool"
    assert Spool(path).read() == []
    path.write_bytes(b"x" * 100)
    assert Spool(path, max_bytes=99).read() is None
    link = tmp_path / "link"
    link.symlink_to(path)
    assert Spool(link).read() is None
    sink = Store()
    made = shipping(sink, spool=Spool(link))
    await made.restore()
    await made.close(60)
    assert [(gap.lost, gap.reason) for gap in sink.gaps] == [(0, "spool_unreadable")]


async def test_the_file_sink_appends_lines_and_keeps_one_older_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    sink = FileSink(path, max_bytes=8)
    assert await sink.store([b"one", b"two"]) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    await sink.store([b"three"])
    assert path.read_bytes() == b"three\n"
    assert path.with_name("audit.jsonl.1").read_bytes() == b"one\ntwo\n"
    with pytest.raises(DependencyUnavailable):
        await FileSink(path / "below-a-file").store([b"x"])
