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
