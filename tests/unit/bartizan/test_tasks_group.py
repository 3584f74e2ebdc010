"""Rules of groups and timeouts: no cancellation is lost, none is made up, whatever release of Python runs them."""

from __future__ import annotations

import asyncio

import pytest

from bartizan import tasks


class _Failed(Exception):
    pass


def _current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _fail() -> None:
    raise _Failed


async def _group_fails(*, waits_inside: bool) -> None:
    try:
        async with tasks.Group() as group:
            tasks.start(group, _fail(), name="fails")
            if waits_inside:
                await asyncio.sleep(60)
    except* _Failed:
        pass


@pytest.mark.parametrize("waits_inside", [False, True])
async def test_who_goes_on_after_a_failed_group_does_not_count_as_cancelled(waits_inside: bool) -> None:
    task = _current()
    await _group_fails(waits_inside=waits_inside)
    assert task.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with tasks.timeout(0.01):
            await asyncio.sleep(60)


async def _goes_on(waits_inside: bool, reached: list[str]) -> None:
    async def cancels_and_fails() -> None:
        own.cancel()
        raise _Failed

    own = _current()
    try:
        async with tasks.Group() as group:
            tasks.start(group, cancels_and_fails(), name="fails")
            if waits_inside:
                await asyncio.sleep(60)
    except* _Failed:
        reached.append("failure")
    await asyncio.sleep(0)
    reached.append("went on")


@pytest.mark.parametrize("waits_inside", [False, True])
async def test_a_cancellation_that_comes_with_a_failure_is_not_lost(waits_inside: bool) -> None:
    reached: list[str] = []
    task = asyncio.get_running_loop().create_task(_goes_on(waits_inside, reached))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached == ["failure"]


async def _fails_when_cancelled(started: asyncio.Event) -> None:
    started.set()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise _Failed from None


async def test_a_member_that_fails_at_the_cancellation_does_not_hide_it() -> None:
    started, reached = asyncio.Event(), list[str]()

    async def work() -> None:
        try:
            async with tasks.Group() as group:
                tasks.start(group, _fails_when_cancelled(started), name="fails")
        except* _Failed:
            reached.append("failure")
        await asyncio.sleep(0)
        reached.append("went on")

    task = asyncio.get_running_loop().create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached == ["failure"]


async def test_a_timeout_runs_out_as_such_while_its_task_is_being_cancelled() -> None:
    ran_out = False

    async def work() -> None:
        nonlocal ran_out
        try:
            await asyncio.sleep(60)
        finally:
            try:
                async with tasks.timeout(0.01):
                    await asyncio.sleep(60)
            except TimeoutError:
                ran_out = True

    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ran_out


async def test_a_cancellation_inside_of_a_timeout_stays_one() -> None:
    async def work() -> None:
        async with tasks.timeout(60):
            await asyncio.sleep(60)

    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_moment_in_the_past_has_run_out() -> None:
    with pytest.raises(TimeoutError):
        async with tasks.timeout_at(asyncio.get_running_loop().time() - 1):
            await asyncio.sleep(60)


async def test_a_time_can_be_ended_by_others_once_and_again_and_then_it_has_run_out() -> None:
    turn = tasks.timeout(60)
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with turn:
            loop.call_soon(turn.end)
            loop.call_soon(lambda: loop.call_soon(turn.end))
            await asyncio.sleep(60)
    turn.end()
