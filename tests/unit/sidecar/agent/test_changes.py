"""A change is never missed, also when it comes while the waiter is busy."""

from __future__ import annotations

import asyncio

from sidecar.agent.changes import Changes


async def test_a_change_while_the_waiter_was_busy_ends_its_wait_at_once() -> None:
    changes = Changes()
    seen = changes.generation
    changes.notify()  # the waiter is sending its report just now
    async with asyncio.timeout(5):
        await changes.after(seen)


async def test_a_wait_lasts_until_the_next_change() -> None:
    changes = Changes()
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(changes.after(changes.generation))
        await asyncio.sleep(0)
        assert not waiter.done()
        changes.notify()


async def test_until_looks_again_after_every_change() -> None:
    changes, state = Changes(), [0]
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(changes.until(lambda: state[0] == 2, timeout=5))
        for _ in range(2):
            await asyncio.sleep(0)
            state[0] += 1
            changes.notify()
    assert waiter.result()
