"""Waiting for a status: a large fleet that stirs does not make whoever waits look for each of its words."""

from __future__ import annotations

import asyncio
import time

from bartizan.api import PolicyStatus
from control_plane.api.routes.policies import StatusQuery, wait_for
from control_plane.fleet.ledger import Ledger

_LOOK_SECONDS = 0.02


async def test_a_fleet_that_stirs_is_looked_at_a_fifth_of_the_time() -> None:
    ledger, looks = Ledger(), 0

    async def read() -> PolicyStatus:
        nonlocal looks
        looks += 1
        end = time.monotonic() + _LOOK_SECONDS
        while time.monotonic() < end:
            ledger.ring()
        return PolicyStatus(name="n/p", revision=1, version=1, enforced_count=0, total=1, instances=())

    query = StatusQuery(wait="enforced", timeout=0.5)
    began = asyncio.get_running_loop().time()
    await wait_for(read, query, ledger)
    took = asyncio.get_running_loop().time() - began
    assert 1 < looks <= 2 + took / (5 * _LOOK_SECONDS)


async def test_rows_are_made_again_only_when_they_may_show_what_is_waited_for() -> None:
    ledger, proven, reads = Ledger(), False, 0

    async def read() -> PolicyStatus:
        nonlocal reads
        reads += 1
        return PolicyStatus(
            name="n/p", revision=1, version=1, enforced_count=int(proven), total=1, instances=()
        )

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(
            wait_for(read, StatusQuery(wait="enforced", timeout=20), ledger, lambda: proven)
        )
        for _ in range(3):
            await asyncio.sleep(0.01)
            ledger.ring()
        assert reads == 1
        proven = True
        ledger.ring()
        assert (await waiting).enforced
    assert reads == 2


async def test_who_waited_in_vain_is_told_how_it_stands_now() -> None:
    reads = 0

    async def read() -> PolicyStatus:
        nonlocal reads
        reads += 1
        return PolicyStatus(name="n/p", revision=1, version=reads, enforced_count=0, total=1, instances=())

    status = await wait_for(read, StatusQuery(wait="enforced", timeout=0.05), Ledger(), lambda: False)
    assert (status.version, status.enforced) == (2, False)
