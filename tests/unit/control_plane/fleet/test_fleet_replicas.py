"""What another replica was told counts here while that replica is alive, and never over something newer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control_plane.fleet.entry import Told
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Instance, Observation, Wanted
from control_plane.secrets.rotation.barriers import Use

ONE = Instance(
    instance_id="i1", spiffe_id="spiffe://t/ns/prod/sa/x", namespace="prod", labels={"app": "chat"}
)
WANTED = Wanted(
    policy="prod/chat", namespace="prod", match_labels={"app": "chat"}, version=4, revision=2, plan_hash="h"
)
PROVEN = Observation(
    boot_id="b1",
    sequence=5,
    policy="prod/chat",
    version=4,
    revision=2,
    plan_hash="h",
    workers_loaded=1,
    workers=1,
    envoy_acked=True,
    probe_good=True,
    probe_at=500.0,
    sent_at=510.0,
    ready=True,
)
OLD = replace(PROVEN, version=3, plan_hash="old")


class World:
    """A replica's ledger beside another replica, `other`; time is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ledger = Ledger(lease=30, shared=True, monotonic=lambda: self.now, clock=lambda: self.now)
        self.ledger.want(WANTED)
        self.ledger.admit(ONE)
        self.ledger.replicas(frozenset({"me", "other"}))

    def told(
        self, seen: Observation, *, live: bool = True, replica: str = "other", at: float = 1000.0
    ) -> None:
        self.ledger.adopt([Told(instance_id="i1", seen=seen, received_at=at, replica=replica, live=live)])

    def state(self) -> tuple[str, str]:
        (row,) = self.ledger.rows("prod/chat")
        return row.state, row.reason


@pytest.fixture
def world() -> World:
    return World()


def test_a_sidecar_of_another_replica_is_proven_without_heartbeats_of_its_own(world: World) -> None:
    world.told(PROVEN)
    assert world.state() == ("enforced", "")
    world.now += 1000
    assert world.state() == ("enforced", ""), "its replica watches its lease and is alive"
    assert world.ledger.live() == {"i1"}
    assert world.ledger.reporting_here() == frozenset()


def test_what_its_replica_says_is_silent_is_lost(world: World) -> None:
    world.told(PROVEN)
    world.told(PROVEN, live=False)
    assert world.state() == ("unreachable", "lease_expired")


def test_sidecars_of_a_dead_replica_prove_nothing_and_get_time_to_find_another(world: World) -> None:
    world.told(replace(PROVEN, secret_versions={"key": "3"}))
    world.ledger.replicas(frozenset({"me"}))
    assert world.state() == ("stale", "replica_away")
    assert world.ledger.live() == frozenset()
    assert world.ledger.secret_users("key", ["i1"]) == {"i1": Use("3")}
    world.now += 31
    assert world.state() == ("unreachable", "lease_expired")
    assert world.ledger.secret_users("key", ["i1"]) == {"i1": Use("3", lost=True)}
    assert world.ledger.observe("i1", replace(PROVEN, sequence=6))
    assert world.state() == ("enforced", "")
    assert world.ledger.reporting_here() == {"i1"}


def test_a_replica_that_can_not_follow_believes_nobody(world: World) -> None:
    world.told(PROVEN)
    world.ledger.replicas(frozenset())
    assert world.state()[0] == "stale"


@pytest.mark.parametrize(
    ("first", "second", "version"),
    [
        ({"sequence": 5}, {"sequence": 6}, 4),
        ({"sequence": 6}, {"sequence": 5}, 3),
        ({"sequence": 5}, {"sequence": 5}, 3),
        ({"sequence": 9, "boot_id": "b0"}, {"sequence": 1}, 4),
    ],
)
def test_the_newer_word_counts_whoever_has_it(
    world: World, first: dict[str, object], second: dict[str, object], version: int
) -> None:
    assert world.ledger.observe("i1", replace(OLD, **first))  # type: ignore[arg-type]
    world.told(replace(PROVEN, **second), at=1001.0)  # type: ignore[arg-type]
    (row,) = world.ledger.rows("prod/chat")
    assert row.version == version


def test_a_late_word_of_an_earlier_boot_changes_nothing(world: World) -> None:
    world.told(replace(OLD, boot_id="b0", sequence=50), at=990.0)
    world.told(PROVEN, at=1000.0)
    world.told(replace(OLD, boot_id="b0", sequence=51), at=1001.0)
    assert world.state() == ("enforced", "")


def test_a_sidecar_that_comes_here_is_ours_until_another_replica_hears_more(world: World) -> None:
    world.told(PROVEN)
    generation = world.ledger.generation
    assert world.ledger.observe("i1", replace(PROVEN, sequence=6))
    assert world.ledger.generation > generation, "others must learn where it reports now"
    world.told(PROVEN, live=False)
    assert world.state() == ("enforced", "")
    world.told(replace(PROVEN, sequence=7))
    assert world.ledger.reporting_here() == frozenset()


def test_a_silent_sidecar_may_have_got_a_secret_from_another_replica(world: World) -> None:
    assert world.ledger.observe("i1", PROVEN)
    world.now += 31
    assert world.ledger.secret_users("key", ["i1"]) == {"i1": Use("", lost=True)}
    assert world.ledger.secret_users("key", []) == {}


def test_many_words_at_once_wake_those_who_wait_once(world: World) -> None:
    names = [f"i{number}" for number in range(2, 50)]
    for name in names:
        world.ledger.admit(replace(ONE, instance_id=name))
    generation = world.ledger.generation
    world.ledger.adopt(
        Told(instance_id=name, seen=PROVEN, received_at=1.0, replica="other", live=True) for name in names
    )
    assert world.ledger.generation == generation + 1
