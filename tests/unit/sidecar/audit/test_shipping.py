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
    for _ in range(500):
        if done():
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert done()


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


async def test_flush_ships_what_is_left_and_gives_up_in_time() -> None:
    sink = Store()
    made = shipping(sink)
    made.put([b"1"])
    await made.flush(1.0)
    assert sink.stored == [b"1"]
    away = shipping(Store(*[DependencyUnavailable("away")] * 3))
    away.put([b"1"])
    await away.flush(0.05)


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
