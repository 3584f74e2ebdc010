"""Single flight: who shares, who does not, and what happens when the one who works is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.secrets.flights import Flights


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.go = asyncio.Event()
        self.error = error

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return number


async def test_callers_at_the_same_time_share_and_later_ones_do_not() -> None:
    flights, work = Flights(), Work()
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(flights.share(("a",), work)) for _ in range(5)]
        await asyncio.sleep(0)
        work.go.set()
    assert {caller.result() for caller in callers} == {1}
    assert await flights.share(("a",), work) == 2


async def test_an_error_reaches_everybody() -> None:
    flights, work = Flights(), Work(ValueError("no"))
    work.go.set()
    results = await asyncio.gather(*(flights.share(("a",), work) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError] * 3


async def test_when_the_working_caller_is_cancelled_another_takes_over() -> None:
    flights, work = Flights(), Work()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(flights.share(("a",), work))
        await asyncio.sleep(0)
        follower = group.create_task(flights.share(("a",), work))
        await asyncio.sleep(0)
        leader.cancel()
        await asyncio.sleep(0)
        work.go.set()
    assert leader.cancelled()
    assert follower.result() == 2


async def test_a_forgotten_flight_is_not_joined() -> None:
    flights, work = Flights(), Work()
    async with asyncio.TaskGroup() as group:
        before = group.create_task(flights.share(("a",), work))
        await asyncio.sleep(0)
        flights.forget(lambda key: key == ("a",))
        after = group.create_task(flights.share(("a",), work))
        await asyncio.sleep(0)
        work.go.set()
    assert (before.result(), after.result()) == (1, 2)


async def test_cancelling_a_follower_harms_nobody() -> None:
    flights, work = Flights(), Work()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(flights.share(("a",), work))
        await asyncio.sleep(0)
        follower = group.create_task(flights.share(("a",), work))
        await asyncio.sleep(0)
        follower.cancel()
        await asyncio.sleep(0)
        work.go.set()
    assert leader.result() == 1
    with pytest.raises(asyncio.CancelledError):
        follower.result()
