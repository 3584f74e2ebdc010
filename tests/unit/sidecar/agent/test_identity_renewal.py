"""When a sidecar renews: by the clock that goes on while its machine is suspended."""

from __future__ import annotations

import asyncio

import pytest

from bartizan import tasks
from sidecar.agent import identity


async def test_a_moment_that_came_while_the_machine_was_suspended_is_seen_at_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(identity, "LONGEST_SLEEP", 0.01)
    monkeypatch.setattr(identity, "_now", lambda: now[0])
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        waits = tasks.start(group, identity.until(3_000.0), name="waits")
        await asyncio.sleep(0.1)
        assert not waits.done()
        now[0] = 9_000.0


async def test_a_moment_that_has_passed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_now", lambda: 1_000.0)
    async with asyncio.timeout(60):
        await identity.until(999.0)
