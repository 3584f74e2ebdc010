"""What the agent tells the control plane, and when: a successor must find on disk whatever was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from bartizan.local.binaries import find_binary
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from sidecar.agent.heartbeat import Heartbeat
from sidecar.agent.versions import SeenVersions
from sidecar.app import Agent
from sidecar.settings import Settings, load


class Control(fleet_pb2_grpc.FleetServicer):
    """Takes reports."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    async def Report(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.reports.append(request)
        return fleet_pb2.ReportReply(lease_seconds=15)


@asynccontextmanager
async def served(control: Control, socket: Path) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    fleet_pb2_grpc.add_FleetServicer_to_server(control, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            yield channel
    finally:
        await server.stop(0)


def settings_in(folder: Path) -> Settings:
    (folder / "token").write_text("x")
    (folder / "seal").write_bytes(bytes(32))
    return load(
        {
            "BARTIZAN_ENVOY": str(find_binary("envoy")),
            "BARTIZAN_RUN_DIR": str(folder / "run"),
            "BARTIZAN_STATE_DIR": str(folder / "state"),
            "BARTIZAN_JOIN_TOKEN_FILE": str(folder / "token"),
            "BARTIZAN_SEAL_KEY_FILE": str(folder / "seal"),
        }
    )


def heartbeat_of(agent: Agent, channel: grpc.aio.Channel, keep: Callable[[], Awaitable[None]]) -> Heartbeat:
    return Heartbeat(
        instance_id=lambda: "i1",
        channel=lambda: channel,
        connected=lambda: True,
        unanswered=lambda: None,
        keep=keep,
        applier=agent.applier,
        workers=agent.workers,
        config=agent.config,
        monitor=agent.monitor,
        verifier=agent.verifier,
        conditions=agent.conditions,
        changes=agent.changes,
    )


async def test_nothing_is_reported_before_it_is_kept(tmp_path: Path) -> None:
    control, kept, disk = Control(), asyncio.Event(), asyncio.Event()

    async def keep() -> None:
        kept.set()
        await disk.wait()

    async with (
        served(control, tmp_path / "s") as channel,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as group,
    ):
        agent = Agent(settings_in(tmp_path), group, stack)
        beating = group.create_task(heartbeat_of(agent, channel, keep).run())
        async with asyncio.timeout(60):
            await kept.wait()
            await asyncio.sleep(0.2)
            assert not control.reports, "the disk has not taken it yet"
            disk.set()
            while not control.reports:
                await asyncio.sleep(0.01)
        beating.cancel()


async def test_on_the_way_from_one_bundle_to_the_next_only_the_end_is_reported(tmp_path: Path) -> None:
    control = Control()

    async def keep() -> None:
        """Nothing to keep."""

    async def reported(count: int) -> None:
        async with asyncio.timeout(60):
            while len(control.reports) < count:
                await asyncio.sleep(0.01)

    async with (
        served(control, tmp_path / "s") as channel,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as group,
    ):
        agent = Agent(settings_in(tmp_path), group, stack)
        agent.applier.switching = True
        beating = group.create_task(heartbeat_of(agent, channel, keep).run())
        await reported(1)
        agent.conditions.set("on_the_way", holds=True)
        await asyncio.sleep(0.2)
        assert len(control.reports) == 1
        agent.applier.switching = False
        agent.changes.notify()
        await reported(2)
        assert "on_the_way" in control.reports[-1].conditions
        beating.cancel()


async def test_a_version_that_is_taken_while_others_are_saved_waits_for_its_own_turn(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        agent = Agent(settings_in(tmp_path), group, stack)

        def on_disk() -> int:
            return SeenVersions(tmp_path / "state" / "versions.json", agent.conditions).bundle("default/a")

        agent.applier.removed = True  # what is saved is that there is nothing
        agent.seen.took_bundle("default/a", 1)
        saving = group.create_task(agent.kept.save())
        await asyncio.sleep(0)  # the disk is asked now, in a thread
        agent.seen.took_bundle("default/a", 2)
        await saving
        assert on_disk() == 1
        await agent.kept.save()
        assert on_disk() == 2
