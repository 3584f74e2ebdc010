"""The rotation machine: its order, its waits and its way back."""

from __future__ import annotations

import pytest

from bartizan.errors import Conflict
from control_plane.secrets.rotation import machine
from control_plane.secrets.rotation.barriers import Use, behind
from control_plane.secrets.rotation.machine import (
    Observation,
    Phase,
    RollBack,
    Rotation,
    Start,
    Timing,
)

TIMING = Timing(soak=2.0, drain=3.0)


def start(state: Rotation | None = None, *, base: int = 1, given: int = 0, now: float = 0.0) -> Rotation:
    event = Start(secret="s", intent="i", base_version=base, given=given, old_key_id="old", now=now)
    return machine.step(state, event, TIMING).state


def ended(emit: int = 1) -> Rotation:
    return Rotation(
        secret="s",
        intent="earlier",
        phase=Phase.AWAITING_DESTROY,
        emit=emit,
        from_generation=0,
        to_generation=emit,
        base_version=emit,
        old_key_id="",
        phase_at=0.0,
    )


def play(state: Rotation, *seen: Observation) -> Rotation:
    for observation in seen:
        state = machine.step(state, observation, TIMING).state
    return state


def at(now: float, **facts: object) -> Observation:
    return Observation(now=now, **facts)  # type: ignore[arg-type]


GOOD = [
    (at(1, vault=True), Phase.CREATE),
    (at(2, made=2), Phase.STAGE),
    (at(3, new_accepted=True), Phase.PROMOTE),
    (at(4, behind=()), Phase.PROMOTE),
    (at(6, behind=()), Phase.DRAIN),
    (at(9, behind=(), vault=True), Phase.RETIRE),
    (at(10, old_accepted=False), Phase.AWAITING_DESTROY),
]


def test_a_rotation_passes_its_phases_in_order_and_emits_the_new_key_only_from_promote_on() -> None:
    state, emitted = start(ended()), []
    for observation, phase in GOOD:
        state = play(state, observation)
        assert state.phase is phase
        emitted.append(state.emit)
    assert emitted == [1, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("until", "seen", "phase", "waiting"),
    [
        (0, at(50), Phase.PLAN, "vault_away"),
        (1, at(50, vault=True), Phase.CREATE, "key"),
        (1, at(50), Phase.CREATE, "vault_away"),
        (2, at(50), Phase.STAGE, "verifier_verdict"),
        (2, at(50, new_accepted=False), Phase.STAGE, "verifier_refuses_new_key"),
        (3, at(50, behind=("a",)), Phase.PROMOTE, "instances"),
        (3, at(50), Phase.PROMOTE, "ledger"),
        (4, at(5, behind=()), Phase.PROMOTE, "soak"),
        (5, at(8, behind=(), vault=True), Phase.DRAIN, "drain"),
        (5, at(50, behind=(), vault=False), Phase.DRAIN, "vault_away"),
        (5, at(50, behind=("a",), vault=True), Phase.DRAIN, "instances"),
        (6, at(50, old_accepted=True), Phase.RETIRE, "old_key_refused"),
        (6, at(50), Phase.RETIRE, "old_key_refused"),
    ],
)
def test_a_phase_waits_until_its_condition_is_seen(
    until: int, seen: Observation, phase: Phase, waiting: str
) -> None:
    state = play(start(ended()), *(observation for observation, _ in GOOD[:until]))
    state = play(state, seen)
    assert (state.phase, state.waiting) == (phase, waiting)


def test_the_soak_starts_again_when_a_sidecar_falls_behind() -> None:
    state = play(start(ended()), *(observation for observation, _ in GOOD[:4]))
    state = play(state, at(5, behind=("late",)), at(6, behind=()), at(7, behind=()))
    assert state.phase is Phase.PROMOTE
    assert play(state, at(8, behind=())).phase is Phase.DRAIN


@pytest.mark.parametrize(
    ("now", "known", "phase"),
    [
        (8, 99.0, Phase.DRAIN),
        (9, 99.0, Phase.RETIRE),
        (9, 4.0, Phase.RETIRE),
        (9, 3.9, Phase.DRAIN),
        (30, 3.9, Phase.DRAIN),
        (31, 3.9, Phase.RETIRE),
        (31, 0.0, Phase.RETIRE),
    ],
)
def test_a_key_lives_until_all_replicas_know_its_successor_or_none_can_give_it_out_any_more(
    now: float, known: float, phase: Phase
) -> None:
    """All sidecars use the new one since 4, the drain began at 6."""
    shared = Timing(soak=2.0, drain=3.0, found_out=25.0)
    state = play(start(ended()), *(observation for observation, _ in GOOD[:5]))
    assert (state.phase, state.met_at, state.phase_at) == (Phase.DRAIN, 4, 6)
    after = machine.step(state, at(now, behind=(), vault=True, known=known), shared).state
    assert (after.phase, after.waiting) == (
        phase,
        "" if phase is Phase.RETIRE else "drain" if now < 9 else "replicas",
    )


@pytest.mark.parametrize("until", range(6))
def test_rollback_is_possible_until_retire_and_returns_to_the_old_key(until: int) -> None:
    state = play(start(ended()), *(observation for observation, _ in GOOD[:until]))
    state = machine.step(state, RollBack(now=20), TIMING).state
    assert (state.phase, state.emit) == (Phase.ROLLBACK, 1)
    state = play(state, at(21, behind=("a",)), at(22, behind=()), at(24, behind=()))
    assert state.phase is Phase.ROLLBACK
    state = play(state, at(25, behind=()), at(26, behind=(), discarded=True))
    assert (state.phase, state.emit) == (Phase.ROLLED_BACK, 1)


def test_after_retire_and_for_a_first_key_there_is_no_way_back() -> None:
    retiring = play(start(ended()), *(observation for observation, _ in GOOD[:6]))
    for state in (retiring, start(None), ended(), None):
        with pytest.raises(Conflict):
            machine.step(state, RollBack(now=1), TIMING)


def test_one_rotation_at_a_time() -> None:
    with pytest.raises(Conflict):
        start(start(ended()))


def test_a_first_key_needs_no_retire() -> None:
    state = play(start(None, base=0), *(observation for observation, _ in GOOD[:5]))
    assert (state.phase, state.emit) == (Phase.AWAITING_DESTROY, 2)


def test_an_operators_version_is_not_made_again() -> None:
    state = play(start(ended(), base=7, given=7), at(1, vault=True))
    assert (state.phase, state.to_generation) == (Phase.STAGE, 7)


@pytest.mark.parametrize(
    ("users", "first", "late"),
    [
        ({}, False, ()),
        ({"a": Use("2"), "b": Use("2", lost=True)}, False, ()),
        ({"b": Use("1"), "a": Use("")}, False, ("a", "b")),
        ({"a": Use("1", lost=True), "b": Use("2")}, False, ("instance_lost:a",)),
        ({"a": Use("", lost=True)}, False, ("instance_lost:a",)),
        ({"a": Use("", lost=True), "b": Use("")}, True, ("b",)),
    ],
)
def test_who_may_still_emit_another_generation_holds_the_barrier(
    users: dict[str, Use], first: bool, late: tuple[str, ...]
) -> None:
    assert behind(users, 2, first=first) == late
