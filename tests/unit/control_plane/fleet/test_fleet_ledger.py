"""A row says "enforced" only with every proof; silence, restarts and refusals are told apart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Instance, Observation, Refused, Wanted, judge
from control_plane.fleet.status import policy_status
from control_plane.secrets.rotation.barriers import Use

WANTED = Wanted(
    policy="prod/chat",
    namespace="prod",
    match_labels={"app": "chat"},
    version=4,
    revision=2,
    plan_hash="h",
    requires=frozenset({"a"}),
    key_set="keys",
)
ONE = Instance(
    instance_id="i1", spiffe_id="spiffe://t/ns/prod/sa/x", namespace="prod", labels={"app": "chat", "z": "1"}
)
PROVEN = Observation(
    boot_id="b1",
    sequence=1,
    policy="prod/chat",
    version=4,
    revision=2,
    plan_hash="h",
    workers_loaded=2,
    workers=2,
    envoy_acked=True,
    probe_good=True,
    probe_at=500.0,
    sent_at=510.0,
    ready=True,
    key_set_versions={"keys": 7},
    capabilities=frozenset({"a"}),
)
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


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({}, "enforced", ""),
        ({"envoy_acked": False}, "pending", "envoy_not_acknowledged"),
        ({"workers_loaded": 1}, "pending", "workers_not_loaded"),
        ({"workers_loaded": 0, "workers": 0}, "pending", "workers_not_loaded"),
        ({"plan_hash": "x"}, "pending", "plan_hash_differs"),
        ({"probe_good": False}, "pending", "probe_missing"),
        ({"probe_good": False, "probe_reason": "timeout"}, "pending", "probe_timeout"),
        ({"probe_at": 480.0}, "pending", "probe_too_old"),
        ({"probe_at": 0.0}, "pending", "probe_too_old"),
        ({"probe_at": 900.0}, "pending", "probe_too_old"),
        ({"ready": False}, "pending", "not_ready"),
        ({"conditions": ("model_reachable_around",)}, "pending", "model_reachable_around"),
        ({"conditions": ("model_unchecked_around",)}, "pending", "model_unchecked_around"),
        ({"key_set_versions": {"keys": 6}}, "pending", "key_set_behind"),
        ({"key_set_versions": {}}, "pending", "key_set_behind"),
        ({"key_set_versions": {"keys": 8}}, "pending", "newer_key_set"),
        ({"version": 3}, "pending", "other_version"),
        ({"version": 5}, "pending", "newer_version"),
        ({"policy": "prod/other"}, "pending", "not_received"),
        ({"version": 3, "refused_version": 3, "refused_reason": "r"}, "pending", "other_version"),
        ({"version": 3, "refused_version": 4, "refused_reason": "r"}, "refused", "r"),
        ({"policy": "", "version": 0, "refused_version": 4, "refused_reason": "r"}, "refused", "r"),
        ({"version": 3, "capabilities": frozenset({"b"})}, "pending", "incapable: a"),
        (
            {"version": 3, "capabilities": frozenset({"b"}), "refused_version": 4, "refused_reason": "r"},
            "pending",
            "incapable: a",
        ),
        ({"version": 3, "capabilities": frozenset()}, "pending", "other_version"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, Any], state: str, reason: str) -> None:
    assert judge(WANTED, replace(PROVEN, **change), None, 7)[:2] == (state, reason)


@given(
    version=st.integers(3, 5),
    acked=st.booleans(),
    loaded=st.integers(0, 3),
    workers=st.integers(0, 3),
    plan=st.sampled_from(["h", "x", ""]),
    probe=st.booleans(),
    refused=st.none() | st.just(Refused(policy="prod/chat", version=4, reason="r", path="")),
)
def test_enforced_means_every_proof(
    version: int, acked: bool, loaded: int, workers: int, plan: str, probe: bool, refused: Refused | None
) -> None:
    seen = replace(
        PROVEN,
        version=version,
        envoy_acked=acked,
        workers_loaded=loaded,
        workers=workers,
        plan_hash=plan,
        probe_good=probe,
    )
    proven = version == 4 and acked and loaded == workers >= 1 and plan == "h" and probe
    assert (judge(WANTED, seen, refused)[0] == "enforced") == proven


@pytest.mark.parametrize(
    ("namespace", "labels", "selected"),
    [
        ("prod", {"app": "chat"}, True),
        ("prod", {"app": "chat", "more": "x"}, True),
        ("prod", {"app": "other"}, False),
        ("prod", {}, False),
        ("dev", {"app": "chat"}, False),
    ],
)
def test_a_policy_selects_by_namespace_and_labels(
    namespace: str, labels: dict[str, str], selected: bool
) -> None:
    assert WANTED.selects(replace(ONE, namespace=namespace, labels=labels)) is selected
    assert not replace(WANTED, match_labels={}).selects(ONE)


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
