"""What the ledger says of a fleet: silence, restarts and refusals are told apart."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from control_plane.fleet.ledger import Ledger
from control_plane.fleet.status import policy_status
from control_plane.secrets.rotation.barriers import Use
from tests.unit.control_plane.fleet.test_fleet_proof import ONE, PROVEN, WANTED

OLD = replace(PROVEN, version=3, plan_hash="old")


class World:
    """A ledger whose time is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ledger = Ledger(lease=30, monotonic=lambda: self.now, clock=lambda: self.now)
        self.ledger.want(WANTED)

    def state(self) -> tuple[str, str]:
        (row,) = self.ledger.rows("prod/chat")
        return row.state, row.reason


@pytest.fixture
def world() -> World:
    made = World()
    made.ledger.admit(ONE)
    return made


def test_a_sidecar_that_never_reports_is_pending_and_then_unreachable(world: World) -> None:
    assert world.state() == ("pending", "not_reported_yet")
    world.now += 31
    assert world.state() == ("unreachable", "never_reported")


def test_a_policy_is_enforced_again_when_the_newest_keys_are_there(world: World) -> None:
    ledger = world.ledger
    ledger.want_key_set("keys", 7)
    ledger.observe("i1", PROVEN)
    assert world.state() == ("enforced", "")
    assert ledger.key_set_users("keys") == {"i1": True}
    generation = ledger.generation
    ledger.want_key_set("keys", 8)
    assert ledger.generation > generation, "who waits for the revocation looks again"
    assert world.state() == ("pending", "key_set_behind")
    assert ledger.key_set_users("keys") == {"i1": False}
    ledger.observe("i1", replace(PROVEN, sequence=2, key_set_versions={"keys": 8}))
    assert world.state() == ("enforced", "")
    assert ledger.key_set_users("keys") == {"i1": True}
    ledger.want_key_set("keys", 7)
    assert ledger.key_set_users("keys") == {"i1": False}, (
        "one that is ahead of a restored store takes nothing of it"
    )
    ledger.want_key_set("keys", 8)
    world.now += 31
    assert ledger.key_set_users("keys") == {"i1": False}, "a silent one may accept what was revoked since"
    ledger.observe("i1", replace(OLD, sequence=3, key_set_versions={"older": 1}))
    assert ledger.key_set_users("older") == {"i1": True}
    assert ledger.key_set_users("foreign") == {}


def test_a_probe_that_grows_old_is_a_change(world: World) -> None:
    world.ledger.observe("i1", PROVEN)
    generation = world.ledger.generation
    world.ledger.observe("i1", replace(PROVEN, sequence=2, sent_at=529.0))
    assert world.ledger.generation == generation
    world.ledger.observe("i1", replace(PROVEN, sequence=3, sent_at=531.0))
    assert world.ledger.generation > generation
    assert world.state() == ("pending", "probe_too_old")


def test_an_expired_lease_is_unreachable_until_the_next_heartbeat(world: World) -> None:
    world.ledger.observe("i1", PROVEN)
    assert (world.state(), world.ledger.live()) == (("enforced", ""), frozenset({"i1"}))
    world.now += 31
    assert (world.state(), world.ledger.live()) == (("unreachable", "lease_expired"), frozenset())
    world.ledger.observe("i1", replace(PROVEN, sequence=2))
    assert world.state() == ("enforced", "")


def test_what_an_earlier_process_was_told_is_stale_until_the_sidecar_reports_again(world: World) -> None:
    world.ledger.restore("i1", PROVEN, received_at=900.0)
    assert world.state() == ("stale", "not_reported_since_restart")
    assert policy_status(world.ledger, "prod/chat").enforced_count == 0
    world.now += 31
    assert world.state() == ("unreachable", "lease_expired")
    assert world.ledger.observe("i1", replace(PROVEN, sequence=1))
    assert world.state() == ("enforced", "")


def test_older_sequences_and_earlier_boots_are_ignored(world: World) -> None:
    ledger = world.ledger
    assert ledger.observe("i1", replace(OLD, sequence=7))
    assert not ledger.observe("i1", replace(PROVEN, sequence=7))
    assert not ledger.observe("i1", replace(PROVEN, sequence=6))
    assert ledger.observe("i1", replace(OLD, boot_id="b2", sequence=1))
    assert not ledger.observe("i1", replace(PROVEN, boot_id="b1", sequence=8))
    assert world.state() == ("pending", "other_version")


def test_a_nack_is_shown_with_its_path_until_a_newer_version_is_accepted(world: World) -> None:
    world.ledger.observe("i1", OLD)
    world.ledger.nacked("i1", "prod/chat", 4, "spec.listener.tls.cert: no such file")
    (row,) = world.ledger.rows("prod/chat")
    assert (row.state, row.reason, row.path, row.version) == (
        "refused",
        "no such file",
        "spec.listener.tls.cert",
        3,
    )
    world.ledger.acked("i1", "prod/chat", 3)
    assert world.state()[0] == "refused"
    world.ledger.acked("i1", "prod/chat", 4)
    assert world.state() == ("pending", "other_version")


async def test_waiters_wake_for_changes_and_not_for_repetitions(world: World) -> None:
    ledger = world.ledger
    ledger.observe("i1", OLD)
    generation = ledger.generation
    ledger.observe("i1", replace(OLD, sequence=2, sent_at=520.0, probe_at=520.0))
    assert ledger.generation == generation
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(ledger.changed(generation))
        await asyncio.sleep(0)
        assert not waiting.done()
        ledger.observe("i1", replace(PROVEN, sequence=3))
    assert waiting.result() > generation
    assert policy_status(ledger, "prod/chat").enforced


def test_a_report_costs_no_look_at_the_rest_of_the_fleet() -> None:
    asked = 0

    def monotonic() -> float:  # every look at a lease asks it
        nonlocal asked
        asked += 1
        return 0.0

    ledger = Ledger(monotonic=monotonic)
    for number in range(1000):
        ledger.admit(replace(ONE, instance_id=f"i{number}"))
        ledger.observe(f"i{number}", OLD)
    asked = 0
    generation = ledger.generation
    ledger.observe("i1", replace(PROVEN, sequence=3))
    assert ledger.generation > generation
    assert asked < 10
    assert len(ledger.live()) == 1000


def test_an_expiring_lease_is_a_change(world: World) -> None:
    world.ledger.observe("i1", PROVEN)
    generation = world.ledger.generation
    assert 0 < world.ledger.sweep() <= 30
    assert world.ledger.generation == generation
    world.now += 31
    world.ledger.sweep()
    assert world.ledger.generation > generation


def test_a_silent_sidecar_counts_with_what_it_showed_last_until_it_is_removed(world: World) -> None:
    ledger = world.ledger
    ledger.observe("i1", replace(PROVEN, secret_versions={"key": "3"}))
    assert ledger.secret_users("key", ["i1"]) == {"i1": Use("3")}
    assert ledger.secret_users("key", []) == {"i1": Use("3")}, (
        "its policy has gone, its Envoy still has the key"
    )
    assert ledger.secret_users("other", ["i1"]) == {"i1": Use("")}
    assert ledger.secret_users("other", []) == {}
    world.now += 31
    assert ledger.secret_users("key", ["i1"]) == {"i1": Use("3", lost=True)}
    ledger.dismiss("i1")
    assert ledger.secret_users("key", ["i1"]) == {}


def test_a_silent_sidecar_that_never_had_a_secret_does_not_count(world: World) -> None:
    ledger = world.ledger
    assert ledger.secret_users("key", ["i1"]) == {}
    ledger.sent("i1", frozenset({"key"}))
    assert ledger.secret_users("key", ["i1"]) == {"i1": Use("", lost=True)}, "it may emit it and not say so"
    ledger.observe("i1", PROVEN)
    ledger.sent("i1", frozenset())
    ledger.observe("i1", replace(PROVEN, sequence=2))
    world.now += 31
    assert ledger.secret_users("key", ["i1"]) == {}


def test_what_an_earlier_process_sent_is_not_known_so_silent_sidecars_count(world: World) -> None:
    ledger = world.ledger
    for name in ("i2", "i3"):
        ledger.admit(replace(ONE, instance_id=name), inherited=True)
    ledger.restore("i2", replace(PROVEN, secret_versions={"key": "3"}), received_at=900.0)
    assert ledger.secret_users("key", ["i2", "i3"]) == {"i2": Use("3"), "i3": Use("")}
    world.now += 31
    assert ledger.secret_users("key", ["i2", "i3"]) == {"i2": Use("3", lost=True), "i3": Use("", lost=True)}
    assert ledger.secret_users("key", []) == {"i2": Use("3", lost=True)}
    ledger.observe("i3", PROVEN)
    world.now += 31
    assert "i3" not in ledger.secret_users("key", ["i2", "i3"])


def test_without_a_publication_nothing_is_claimed(world: World) -> None:
    world.ledger.unwant("prod/chat")
    status = policy_status(world.ledger, "prod/chat")
    assert (status.version, status.total, status.enforced) == (0, 0, False)


def test_a_policy_is_proven_when_all_that_it_selects_have_proven_it(world: World) -> None:
    ledger = world.ledger
    ledger.admit(replace(ONE, instance_id="i2"))
    ledger.admit(replace(ONE, instance_id="other", labels={"app": "other"}))
    ledger.observe("i1", PROVEN)
    assert not ledger.proven("prod/chat")
    ledger.observe("i2", OLD)
    assert not ledger.proven("prod/chat")
    ledger.observe("i2", replace(PROVEN, sequence=2))
    assert ledger.proven("prod/chat")
    assert not ledger.proven("prod/none")
    world.now += 31
    assert not ledger.proven("prod/chat"), "silent ones prove nothing"


def test_news_name_each_sidecar_once_of_which_something_new_is_known(world: World) -> None:
    ledger = world.ledger
    assert not ledger.news()
    ledger.observe("i1", OLD)
    ledger.observe("i1", replace(PROVEN, sequence=2))
    assert ledger.news() == {"i1"}
    ledger.observe("i1", replace(PROVEN, sequence=3))
    assert not ledger.news(), "it says the same"
    ledger.dismiss("i1")
    assert ledger.news() == {"i1"}
