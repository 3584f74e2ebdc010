"""Work in a shelter comes to its end although its caller was cancelled."""

from __future__ import annotations

import asyncio

import pytest

from bartizan.tasks import Shelter, cancel


async def test_cancelling_the_caller_does_not_cancel_the_work() -> None:
    shelter, gate, done = Shelter(), asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(True)

    async with asyncio.TaskGroup() as group:
        caller = group.create_task(shelter.run(work(), name="work"))
        await asyncio.sleep(0)
        await cancel(caller)
    gate.set()
    await shelter.close(5)
    assert done == [True]


async def test_result_and_error_reach_the_caller() -> None:
    shelter = Shelter()

    async def give(value: int) -> int:
        if value < 0:
            raise ValueError("negative")
        return value

    assert await shelter.run(give(1), name="one") == 1
    with pytest.raises(ValueError, match="negative"):
        await shelter.run(give(-1), name="two")


async def test_closing_ends_what_does_not_end_by_itself() -> None:
    shelter = Shelter()
    async with asyncio.TaskGroup() as group:
        caller = group.create_task(shelter.run(asyncio.Event().wait(), name="endless"))
        await asyncio.sleep(0)
        await cancel(caller)
    await shelter.close(0)
