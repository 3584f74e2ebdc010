"""Only one replica reconciles: a lease is taken when it is free, given back at the end, and never shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bartizan import tasks
from control_plane.kubernetes import election
from control_plane.kubernetes.api_server import ApiServer, connect
from control_plane.kubernetes.election import Election, Seen, decide
from tests.support.api_server_stand import LEASES, ApiServerStand, api_server_stand, write_kubeconfig

HELD = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "then"}


@pytest.mark.parametrize(
    ("lease", "seen", "verdict"),
    [
        ({}, None, "free"),
        ({"holderIdentity": ""}, None, "free"),
        ({"holderIdentity": "me"}, None, "ours"),
        (HELD, None, "held"),
        (HELD, Seen(spec=HELD, at=90.0), "held"),
        (HELD, Seen(spec=HELD, at=85.0), "free"),
        ({**HELD, "renewTime": "now"}, Seen(spec=HELD, at=0.0), "held"),
        (
            {**HELD, "leaseDurationSeconds": None},
            Seen(spec={**HELD, "leaseDurationSeconds": None}, at=86.0),
            "held",
        ),
    ],
)
def test_a_lease_is_free_only_after_its_holder_was_silent_for_its_duration(
    lease: dict[str, object], seen: Seen | None, verdict: str
) -> None:
    assert decide(lease, seen, "me", 100.0) == verdict


@pytest.fixture
async def cluster() -> AsyncIterator[ApiServerStand]:
    async with api_server_stand() as made:
        yield made


@pytest.fixture
async def server(cluster: ApiServerStand, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with connect(str(write_kubeconfig(tmp_path / "c", f"http://127.0.0.1:{cluster.port}"))) as made:
        yield made


async def test_of_two_replicas_one_leads_and_the_other_follows_when_it_ends(
    server: ApiServer, cluster: ApiServerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(election, "RENEW", 0.05)
    leading: list[str] = []

    async def lead(name: str) -> None:
        leading.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            leading.remove(name)

    async def until(wanted: list[str]) -> None:
        async with asyncio.timeout(60):
            while leading != wanted:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        replicas = {
            name: tasks.start(
                group,
                Election(server, namespace="bartizan-system", me=name).lead(lambda name=name: lead(name)),  # type: ignore[misc]
                name=name,
            )
            for name in ("a", "b")
        }
        async with asyncio.timeout(60):
            while not leading:
                await asyncio.sleep(0.01)
        first = leading[0]
        other = "b" if first == "a" else "a"
        await asyncio.sleep(0.3)
        assert leading == [first]
        await tasks.cancel(replicas[first])
        await until([other])
        spec = cluster.objects[f"{LEASES}/{election.NAME}"]["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == (other, 2)
        # somebody else's word stands: the loser stops
        one = cluster.objects[f"{LEASES}/{election.NAME}"]
        cluster.put(f"{LEASES}/{election.NAME}", {**one, "spec": {**spec, "holderIdentity": "third"}})
        await until([])
        await tasks.cancel(replicas[other])


async def test_a_claim_that_was_answered_too_late_leads_nobody(
    server: ApiServer, cluster: ApiServerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others count from when it was written: so long after it they may lead already."""
    monkeypatch.setattr(election, "RENEW", 0.01)
    monkeypatch.setattr(election, "GIVE_UP", 0.3)
    cluster.late = 0.4
    led: list[bool] = []

    async def lead() -> None:
        led.append(cluster.late > 0)
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        made = Election(server, namespace="bartizan-system", me="a")
        running = tasks.start(group, made.lead(lead), name="a")
        while not cluster.objects.get(f"{LEASES}/{election.NAME}", {}).get("spec", {}).get("renewTime"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert not made.leads()
        cluster.late = 0.0
        while not led:
            await asyncio.sleep(0.01)
        await tasks.cancel(running)
    assert led == [False]


async def test_who_can_not_renew_stops_before_anybody_else_may_begin(
    server: ApiServer, cluster: ApiServerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert election.GIVE_UP < election.DURATION
    monkeypatch.setattr(election, "RENEW", 0.05)
    monkeypatch.setattr(election, "GIVE_UP", 0.3)
    began, ended = asyncio.Event(), asyncio.Event()

    async def lead() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.TaskGroup() as group:
        made = Election(server, namespace="bartizan-system", me="a")
        running = tasks.start(group, made.lead(lead), name="a")
        async with asyncio.timeout(60):
            await began.wait()
            cluster.down = True
            await ended.wait()
        await tasks.cancel(running)
