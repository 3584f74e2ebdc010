"""Replicas whose clocks disagree: what a sidecar's newer process says stands over its older one's, whoever was told."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from control_plane.fleet import service as fleet_service
from control_plane.fleet.service import FleetService
from control_plane.store.clock import StoreClock
from control_plane.store.sql.store import open_store
from protos.gen.bartizan.fleet.v1 import fleet_pb2
from tests.support.following_replicas import Replica, instance
from tests.support.push_stand import CHAT, until


class Peer:
    """A call on the mTLS port, as far as the service asks: who calls."""

    spiffe_id = CHAT


async def saved(service: FleetService) -> None:
    running = asyncio.create_task(service.run())  # noqa: TID251 - ends with the test
    await until(lambda: "i1" in service._here)
    running.cancel()


@pytest.mark.parametrize("skews", [(3600.0, -3600.0), (-3600.0, 3600.0)])
async def test_the_order_of_two_processes_does_not_hang_on_the_replicas_clocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skews: tuple[float, float]
) -> None:
    monkeypatch.setattr(fleet_service, "peer_info", lambda _context: Peer)
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    try:
        async with store.begin() as work:
            await work.instances.add(instance("i1"))
        first, second = [
            Replica(name, store, StoreClock(lambda skew=skew: time.time() + skew))  # type: ignore[misc]
            for name, skew in zip(("first", "second"), skews, strict=True)
        ]
        for each in (first, second):
            each.following.looked(2**40)
            await each.fleet.load()
        await first.fleet.Report(
            fleet_pb2.InstanceReport(instance_id="i1", boot_id="old", sequence=900), None
        )
        await second.fleet.Report(fleet_pb2.InstanceReport(instance_id="i1", boot_id="new", sequence=1), None)
        # The first one slept: what it was told comes into the store after what came later.
        for each in (second, first):
            await saved(each.fleet)
        async with store.begin() as work:
            (row,) = await work.instances.reports()
        assert (row.boot_id, row.replica) == ("new", "second")
        first.fleet.take([row])
        (seen, _) = first.ledger.observation("i1") or (None, 0)
        assert seen is not None
        assert seen.boot_id == "new"
    finally:
        await store.close()
