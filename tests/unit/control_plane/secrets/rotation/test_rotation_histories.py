"""The rotation machine's invariants in a simulated world with faults."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import Conflict
from control_plane.secrets.rotation import acts, machine
from control_plane.secrets.rotation.barriers import Use, behind
from control_plane.secrets.rotation.machine import (
    ENDED,
    Observation,
    Phase,
    RollBack,
    Rotation,
    Start,
    Timing,
)

TIMING = Timing(soak=2.0, drain=3.0)


@dataclass
class World:
    """Sidecars, provider and key-value store as simple facts; every effect may happen and its result get lost."""

    chance: random.Random
    now: float = 0.0
    versions: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Key-value version -> (intent name, key id)."""
    keys: dict[str, str] = field(default_factory=dict)
    """Accepted key ids -> names."""
    warming: set[str] = field(default_factory=set)
    """Keys that the provider made but its verifier does not accept yet."""
    nodes: dict[str, int | None] = field(default_factory=dict)
    """Instances and what they emit; None: removed, or not there yet."""
    silent: set[str] = field(default_factory=set)
    """Cut off: they go on emitting what they had, and what they said last is known."""
    published: int = 0
    vault: bool = True
    made: int = 0

    def perform(self, state: Rotation) -> Observation | None:
        """None: the process died after doing only a part."""
        facts: dict[str, object] = {"vault": self.vault}
        for effect in machine.effects(state):
            if self.chance.random() < 0.1:
                return None
            match effect:
                case acts.Publish(generation=generation):
                    self.published = generation
                case acts.MakeKey(name=name) if self.vault:
                    newest = max(self.versions, default=0)
                    intent, key_id = self.versions.get(newest, ("", ""))
                    if newest > state.base_version and intent == name and key_id in self.keys:
                        facts["made"] = newest
                        continue
                    self.keys = {known: owner for known, owner in self.keys.items() if owner != name}
                    self.made += 1
                    self.keys[f"k{self.made}"] = name
                    self.warming.add(f"k{self.made}")
                    if self.chance.random() < 0.2:
                        return None
                    self.versions[newest + 1] = (name, f"k{self.made}")
                    facts["made"] = newest + 1
                case acts.CheckAccepted(generation=generation):
                    facts["new_accepted"] = self.accepts(generation)
                    if self.chance.random() < 0.5:
                        self.warming.clear()
                case acts.Compare(generation=generation):
                    users = {
                        name: Use(str(used), lost=name in self.silent)
                        for name, used in self.nodes.items()
                        if used is not None
                    }
                    facts["behind"] = behind(users, generation, first=not state.from_generation)
                case acts.Revoke(generation=generation, key_id=key_id):
                    if self.chance.random() < 0.5:
                        self.keys.pop(key_id, None)
                    facts["old_accepted"] = self.accepts(generation)
                case acts.Discard(name=name):
                    self.keys = {known: owner for known, owner in self.keys.items() if owner != name}
                    facts["discarded"] = True
        if self.chance.random() < 0.1:
            return None
        return Observation(now=self.now, **facts)  # type: ignore[arg-type]

    def disturb(self) -> None:
        self.now += self.chance.choice((0.0, 0.5, 2.0))
        name = self.chance.choice(list(self.nodes))
        match self.chance.randrange(7):
            case 0 if self.nodes[name] is not None:
                self.nodes[name] = None
                self.silent.discard(name)
            case 1 | 2 | 3:  # takes what is published; one that comes back syncs before it is ready
                self.nodes[name] = self.published or None
                self.silent.discard(name)
            case 4 if self.nodes[name] is not None:
                self.silent.add(name)
            case 5:
                self.vault = self.chance.random() < 0.8
            case _:
                pass

    def check(self) -> None:
        """I1 and I2: no sidecar, cut off or not, uses a key that its verifier refuses."""
        for used in self.nodes.values():
            if used:
                assert self.accepts(used), f"{used} is in use and refused"

    def accepts(self, generation: int) -> bool:
        key_id = self.versions[generation][1]
        return key_id in self.keys and key_id not in self.warming


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_no_sidecar_ever_uses_a_refused_key_whatever_fails_and_every_rotation_ends(seed: int) -> None:
    world = World(random.Random(seed))
    world.nodes = {f"n{number}": None for number in range(3)}
    state: Rotation | None = None
    rotations = 0
    for turn in range(2500):
        calm = turn > 1500
        if calm:
            world.vault = True
            world.now += 1.0
            world.nodes, world.silent = dict.fromkeys(world.nodes, world.published or None), set()
        else:
            world.disturb()
        if state is None or state.phase in ENDED:
            if calm:
                break
            emit = state.emit if state else 0
            rotations += 1
            event = Start(
                secret="s",
                intent=str(rotations),
                base_version=max(world.versions, default=0),
                given=0,
                old_key_id=world.versions[emit][1] if emit else "",
                now=world.now,
            )
            state = machine.step(state, event, TIMING).state
        elif world.chance.random() < 0.01 and state.from_generation and not calm:
            try:
                state = machine.step(state, RollBack(now=world.now), TIMING).state
            except Conflict:
                assert state.phase in {Phase.RETIRE, Phase.ROLLBACK}
        seen = world.perform(state)
        world.check()
        if seen is None:
            continue
        after = machine.step(state, seen, TIMING).state
        if after.phase is Phase.RETIRE and state.phase is not Phase.RETIRE:  # I5
            assert seen.behind == ()
        state = after
    assert state is not None
    assert state.phase in ENDED
    assert rotations > 1
    assert len(world.keys) == 1, "exactly the key in use is left at the provider"
    assert world.versions[state.emit][1] in world.keys
