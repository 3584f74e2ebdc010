"""The rotation of an outbound provider credential as a pure machine: state + event -> state + effects.

The new key g+1 is made, accepted by its verifier, used by every sidecar, and only then g is revoked. The engine does
what the effects say, tells what it saw, and journals every state before it goes on; nothing here does I/O.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from bartizan.errors import Conflict
from control_plane.secrets.rotation.acts import (
    CheckAccepted,
    Compare,
    Discard,
    Effect,
    MakeKey,
    Publish,
    Revoke,
)


class Phase(enum.StrEnum):
    """In order. The last two end a rotation; ROLLBACK branches off before RETIRE."""

    PLAN = "plan"
    CREATE = "create"
    STAGE = "stage"
    PROMOTE = "promote"
    DRAIN = "drain"
    RETIRE = "retire"
    ROLLBACK = "rollback"
    AWAITING_DESTROY = "awaiting_destroy"
    ROLLED_BACK = "rolled_back"


ENDED = frozenset({Phase.AWAITING_DESTROY, Phase.ROLLED_BACK})
_REVERSIBLE = frozenset({Phase.PLAN, Phase.CREATE, Phase.STAGE, Phase.PROMOTE, Phase.DRAIN})


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A secret's line in the journal. Generations are key-value version numbers; 0 means none. Times: seconds."""

    secret: str
    intent: str
    """Random; part of the new key's name at the provider, so that a repeated create finds what the first one made."""
    phase: Phase
    emit: int
    """What sidecars use."""
    from_generation: int
    to_generation: int
    base_version: int
    """Newest key-value version when the rotation was planned: later ones not made by us are an operator's."""
    old_key_id: str
    """The provider's id of g; "" when an operator wrote g without one and has to revoke it."""
    phase_at: float
    met_at: float | None = None
    """Since when every sidecar uses `emit`."""
    waiting: str = ""
    """Constant snake_case: what the phase waits for."""
    behind: tuple[str, ...] = ()  # who doesn't use `emit` yet: ids, instance_lost:<id> (the first twenty)
    trace: str = ""  # W3C traceparent of its start: all phases are one trace, whoever goes on with them

    @property
    def key_name(self) -> str:
        return f"bartizan-{self.secret}-{self.intent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """soak: all use g+1 for this long before g counts as leaving. drain: longest request in flight.

    found_out: a replica that does not know of g+1 can't give g to anybody so long after (engine.py).
    """

    soak: float
    drain: float
    found_out: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin. `given`: the key-value version that an operator wrote, 0 when the key is to be made by us."""

    secret: str
    intent: str
    base_version: int
    given: int
    old_key_id: str
    now: float
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the engine saw. None: not looked at, or no verdict; the machine never takes it for a yes."""

    now: float
    vault: bool = False
    made: int | None = None
    """Key-value version that holds the new key."""
    new_accepted: bool | None = None
    behind: tuple[str, ...] | None = None
    old_accepted: bool | None = None
    discarded: bool = False
    known: float = 0.0
    """Up to when every other replica knows what was journalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Go back to g."""

    now: float


Event = Start | Observation | RollBack


@dataclass(frozen=True, slots=True)
class Step:
    """What to journal, and then to do."""

    state: Rotation
    effects: tuple[Effect, ...]


def step(state: Rotation | None, event: Event, timing: Timing) -> Step:
    """Raises Conflict when the event is not possible now (a second rotation, rollback too late)."""
    match event:
        case Start():
            after = _start(state, event)
        case RollBack():
            after = _roll_back(state, event)
        case Observation():
            if state is None:
                raise Conflict("no rotation to observe")
            after = _observe(state, event, timing)
    return Step(after, effects(after))


def effects(state: Rotation) -> tuple[Effect, ...]:
    """What this state asks for; after a crash the engine starts with these again."""
    publish = (Publish(generation=state.emit),) if state.emit else ()
    compare = Compare(generation=state.emit)
    match state.phase:
        case Phase.CREATE:
            return (*publish, MakeKey(name=state.key_name))
        case Phase.STAGE:
            return (*publish, CheckAccepted(generation=state.to_generation))
        case Phase.PROMOTE | Phase.DRAIN:
            return (*publish, compare)
        case Phase.RETIRE:
            return (*publish, Revoke(generation=state.from_generation, key_id=state.old_key_id))
        case Phase.ROLLBACK:
            discard = (Discard(name=state.key_name),) if state.waiting == "discard" else ()
            return (*publish, compare, *discard)
        case _:
            return publish


def _start(state: Rotation | None, event: Start) -> Rotation:
    if state is not None and state.phase not in ENDED:
        raise Conflict(f"a rotation of {event.secret} is under way ({state.phase})")
    emit = state.emit if state is not None else 0
    return Rotation(
        secret=event.secret,
        intent=event.intent,
        phase=Phase.PLAN,
        emit=emit,
        from_generation=emit,
        to_generation=event.given,
        base_version=event.base_version,
        old_key_id=event.old_key_id,
        phase_at=event.now,
        trace=event.trace,
    )


def _roll_back(state: Rotation | None, event: RollBack) -> Rotation:
    if state is None or state.phase not in _REVERSIBLE:
        raise Conflict("rolling back is possible until the old key is being revoked")
    if not state.from_generation:
        raise Conflict("this is the secret's first key: there is none to go back to")
    return _enter(state, Phase.ROLLBACK, event.now, emit=state.from_generation)


def _observe(state: Rotation, seen: Observation, timing: Timing) -> Rotation:
    match state.phase:
        case Phase.PLAN:
            if not seen.vault:
                return _wait(state, "vault_away")
            return _enter(state, Phase.STAGE if state.to_generation else Phase.CREATE, seen.now)
        case Phase.CREATE:
            if seen.made is None:
                return _wait(state, "key" if seen.vault else "vault_away")
            return _enter(state, Phase.STAGE, seen.now, to_generation=seen.made)
        case Phase.STAGE:  # barrier A
            if seen.new_accepted:
                return _enter(state, Phase.PROMOTE, seen.now, emit=state.to_generation)
            refused = seen.new_accepted is not None
            return _wait(state, "verifier_refuses_new_key" if refused else "verifier_verdict")
        case Phase.PROMOTE:  # barrier B, then soak
            state = _compare(state, seen)
            if not _held(state, seen, timing.soak):
                return _wait(state, "soak") if state.met_at is not None else state
            return _enter(state, Phase.DRAIN if state.from_generation else Phase.AWAITING_DESTROY, seen.now)
        case Phase.DRAIN:
            state = _compare(state, seen)
            if state.met_at is None:
                return state
            if left := _left(state, state.met_at, seen, timing):
                return _wait(state, left)
            if not seen.vault:  # rollback stays possible while Vault can't be asked
                return _wait(state, "vault_away")
            return _enter(state, Phase.RETIRE, seen.now)
        case Phase.RETIRE:  # barrier C
            if seen.old_accepted is False:
                return _enter(state, Phase.AWAITING_DESTROY, seen.now)
            by_hand = seen.old_accepted and not state.old_key_id
            return _wait(state, "operator_revokes_old_key" if by_hand else "old_key_refused")
        case Phase.ROLLBACK:
            if seen.discarded:
                return _enter(state, Phase.ROLLED_BACK, seen.now)
            state = _compare(state, seen)
            if state.met_at is None:
                return state
            return _wait(state, _left(state, state.met_at, seen, timing) or "discard")
        case _:
            return state


def _compare(state: Rotation, seen: Observation) -> Rotation:
    """Barrier B: the clock of `met_at` starts again whenever a sidecar is behind, or nobody could look."""
    if seen.behind is None or seen.behind:
        behind = (seen.behind or ())[:20]
        waiting = "instances" if behind else "ledger"
        return msgspec.structs.replace(state, met_at=None, behind=behind, waiting=waiting)
    met_at = state.met_at if state.met_at is not None else seen.now
    return msgspec.structs.replace(state, met_at=met_at, behind=())


def _left(state: Rotation, met_at: float, seen: Observation, timing: Timing) -> str:
    """What keeps the other generation in use, "" for nothing: requests in flight, or a replica that may give it out."""
    passed = seen.now - max(state.phase_at, met_at)
    if passed < timing.drain:
        return "drain"
    return "replicas" if seen.known < met_at and passed < timing.found_out else ""


def _held(state: Rotation, seen: Observation, seconds: float) -> bool:
    return state.met_at is not None and seen.now - state.met_at >= seconds


def _wait(state: Rotation, reason: str) -> Rotation:
    return state if state.waiting == reason else msgspec.structs.replace(state, waiting=reason)


def _enter(
    state: Rotation, phase: Phase, now: float, *, emit: int | None = None, to_generation: int | None = None
) -> Rotation:
    return msgspec.structs.replace(
        state,
        phase=phase,
        phase_at=now,
        emit=state.emit if emit is None else emit,
        to_generation=state.to_generation if to_generation is None else to_generation,
        # the next phase's barrier must be seen anew, only the soak's own proof goes over into the drain
        met_at=state.met_at if phase is Phase.DRAIN else None,
        waiting="",
        behind=(),
    )
