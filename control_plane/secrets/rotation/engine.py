"""Moves rotations on: does what the machine asks for, tells it what was seen, journals, publishes what sidecars use.

One replica at a time leads (a lease); all publish. A crash anywhere is mended by doing the journalled state's effects
again: each finds what its first run left behind.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from bartizan import tasks
from bartizan.errors import BartizanError, Conflict, DependencyError, InvalidInput, NotFound
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.tracing import step, traceparent
from control_plane.secrets.base import SecretBackend
from control_plane.secrets.definition import SecretDefinition, parse_definition
from control_plane.secrets.rotation import acts, machine
from control_plane.secrets.rotation.barriers import Use, behind
from control_plane.secrets.rotation.effects import Hands, Publish
from control_plane.secrets.rotation.emits import Emits
from control_plane.secrets.rotation.faults import Faults
from control_plane.secrets.rotation.journal import By, Entry, Journal, entry_of
from control_plane.secrets.rotation.lead import Leadership
from control_plane.secrets.rotation.machine import ENDED, Observation, Phase, Rotation, Start, Timing
from control_plane.secrets.rotation.settings import RotationSettings
from control_plane.secrets.rotation.traces import PhaseSpans, gauge, show
from control_plane.store.base import RotationRow, SecretRow, Store

log = get_logger()
Users = Callable[[str], Awaitable[Mapping[str, Use]]]
"""Secret name -> every instance, silent ones too, that may emit it and was not removed, and what it said last."""
FOUND_OUT = 25.0
"""Within so many seconds a replica that stands still serves nobody any more: it knows itself by then that it is
behind (push/replicas.py), and its sidecars have left it (their keepalive). A key lives on for longer than that, unless
all other replicas are known to have taken its successor over."""
SAID = 6.0
"""So long a replica must have lived on since: what it gave out before, sidecars have told it by then."""
_US = By(actor="control-plane")
_TRIES = 5


class RotationEngine:
    """Keep `run` running. `rotate` and `roll_back` may be called on any replica."""

    def __init__(
        self,
        *,
        store: Store,
        backend: SecretBackend,
        publish: Publish,
        users: Users,
        holder: str,
        settings: RotationSettings | None = None,
    ) -> None:
        """holder: this replica's own name, the same after its restart."""
        self._store = store
        self._backend = backend
        self._users = users
        self._holder = holder
        self._lead = Leadership(store, holder)
        self._clock = self._lead.now
        self._settings = settings or RotationSettings()
        self._timing = Timing(
            soak=self._settings.soak,
            drain=self._settings.drain,
            found_out=FOUND_OUT if store.shared else 0.0,
        )
        self._journal = Journal(store)
        self._hands = Hands(backend, publish, self._lead.confirm)
        self._emits = Emits(self._hands)
        self._wake = asyncio.Event()
        self._started = time.monotonic()
        self._polled: dict[str, float] = {}
        self._faults = Faults()
        self._spans = PhaseSpans()
        self._busy = False

    async def run(self) -> None:
        """Until cancelled."""
        self._started = time.monotonic()
        try:
            while True:
                self._wake.clear()
                try:
                    await self.advance_all()
                except BartizanError as error:
                    log.warning("rotation_held", reason=str(error))
                # a fleet's reports wake us all the time: one look for many of them
                await asyncio.sleep(self._settings.tick / 5 if self._busy else self._settings.tick)
                with suppress(TimeoutError):
                    async with tasks.timeout(self._settings.tick if self._busy else self._settings.poll):
                        await self._wake.wait()
        finally:
            await self._lead.resign()

    async def advance_all(self) -> None:
        """Move every secret on as far as it goes now."""
        lead = await self._lead.ask()
        known = await self._known_secrets()
        still_open = await asyncio.gather(*(self._guarded(*each, lead=lead) for each in known))
        self._busy = any(still_open)

    async def rotate(self, name: str, *, by: str, peer: str = "", request_id: str = "") -> Rotation:
        """Begin a rotation with a new key. Raises NotFound, Conflict (one is under way), DependencyError."""
        definition = await self._definition(name)
        entry = await self._journal.load(name)
        started = await self._start(
            definition, entry, given=0, by=By(actor=by, peer=peer, request_id=request_id)
        )
        self._wake.set()
        return started

    async def roll_back(self, name: str, *, by: str, peer: str = "", request_id: str = "") -> Rotation:
        """Go back to the old key. Raises NotFound, Conflict (too late, or nothing to go back to)."""
        await self._definition(name)
        who = By(actor=by, peer=peer, request_id=request_id)
        for left in reversed(range(_TRIES)):
            entry = await self._journal.load(name)
            after = machine.step(entry.state, machine.RollBack(now=self._clock()), self._timing).state
            try:
                await self._journal.save(entry, after, now=self._clock(), by=who)
                break
            except Conflict:  # it moved on meanwhile: whether there is a way back is asked anew
                if not left:
                    raise
        self._wake.set()
        return after

    async def status(self, name: str) -> Rotation | None:
        """The newest journalled state; None before the first rotation. Raises NotFound."""
        await self._definition(name)
        return (await self._journal.load(name)).state

    def trouble(self, name: str) -> str:
        """What went wrong at the last try on this replica: a constant word, "" when nothing did."""
        return self._faults.word(name)

    async def catch_up(self) -> None:
        """What other replicas' rotations made sidecars use holds here, too. Raises DependencyError."""
        for row, told in await self._known_secrets():
            try:
                if told and await self._emits.hold(parse_definition(row.definition), entry_of(told)):
                    self._wake.set()
            except InvalidInput as error:  # of a newer release: no reason not to follow the rest
                self._faults.tell(row.name, error)
                await self._hands.withdraw(row.name)

    def wake(self) -> None:
        """A definition changed: look now instead of at the next tick."""
        self._wake.set()

    def stirred(self) -> None:
        """A sidecar said something: look now, where a rotation waits for it."""
        if self._busy:
            self._wake.set()

    async def _known_secrets(self) -> list[tuple[SecretRow, RotationRow | None]]:
        async with self._store.begin() as work:
            told = {each.secret: each for each in await work.rotations.all()}
            return [(row, told.get(row.name)) for row in await work.secrets.all()]

    async def _guarded(self, row: SecretRow, told: RotationRow | None, *, lead: bool) -> bool:
        """One secret's trouble stops only itself. True while there is something to come back to soon."""
        with self._faults.trying(row.name):
            try:
                return await self._advance(parse_definition(row.definition), entry_of(told), lead=lead)
            except Conflict:
                pass  # another replica moved it on
            except BartizanError as error:
                self._faults.tell(row.name, error)
        return True

    async def _advance(self, definition: SecretDefinition, entry: Entry, *, lead: bool) -> bool:
        while True:
            state = entry.state
            if state is not None:
                gauge(state)
            if state is None or state.phase in ENDED:
                self._spans.left(definition.name)
                await self._emits.publish(definition, entry)
                if not lead or not await self._look_for_new_version(definition, entry):
                    return False
                entry = await self._journal.load(definition.name)
                continue
            if not lead:
                self._spans.left(definition.name)
                await self._emits.publish(definition, entry)
                return True
            with self._spans.within(state):
                seen = await self._observe(definition, entry, state)
            after = machine.step(state, seen, self._timing).state
            if after == state:
                return True
            entry = await self._journal.save(entry, after, now=self._clock(), by=_US)
            if after.phase is state.phase:
                return True
            show(after)

    async def _observe(self, definition: SecretDefinition, entry: Entry, state: Rotation) -> Observation:
        """Do the state's effects and say what was seen. A fault gives no verdict, so the machine waits."""
        vault = made = accepted = late = old = None
        discarded = False
        try:
            for effect in machine.effects(state):
                match effect:
                    case acts.MakeKey():
                        made = await self._hands.make(definition, state)
                    case acts.CheckAccepted(generation=generation):
                        accepted = await self._hands.accepted(definition, generation)
                    case acts.Publish():
                        await self._emits.publish(definition, entry)
                    case acts.Compare(generation=generation):
                        late = await self._behind(definition.name, state, generation)
                    case acts.Revoke(generation=generation, key_id=key_id):
                        old = await self._hands.revoke(definition, generation, key_id)
                    case acts.Discard(name=name):
                        await self._hands.discard(definition, name)
                        discarded = True
            if state.phase in {Phase.PLAN, Phase.DRAIN}:
                await self._hands.newest(definition)
                vault = self._backend.healthy
        except DependencyError as error:
            self._faults.tell(definition.name, error)
        return Observation(
            now=self._clock(),
            vault=self._backend.healthy if vault is None and state.phase is Phase.CREATE else bool(vault),
            made=made,
            new_accepted=accepted,
            behind=late,
            old_accepted=old,
            discarded=discarded,
            known=await self._known() if state.met_at is not None else 0.0,
        )

    async def _known(self) -> float:
        """Up to when every other replica that may be serving still knows what was journalled."""
        async with self._store.begin() as work:
            known = await work.replicas.known(but=self._holder, since=await work.now() - FOUND_OUT)
        return known - SAID

    async def _behind(self, name: str, state: Rotation, generation: int) -> tuple[str, ...] | None:
        late = behind(await self._users(name), generation, first=not state.from_generation)
        # After our own restart sidecars need a lease's time to report: an empty ledger proves nothing before.
        warming_up = time.monotonic() - self._started < self._settings.lease
        return None if warming_up and state.from_generation and not late else late

    async def _look_for_new_version(self, definition: SecretDefinition, entry: Entry) -> bool:
        """True when a rotation was begun: a first key is needed, or an operator wrote a version."""
        now = time.monotonic()
        if now - self._polled.get(definition.name, -self._settings.poll) < self._settings.poll:
            return False
        newest = await self._hands.newest(definition)
        self._polled[definition.name] = now
        state = entry.state
        if state is None:
            await self._start(definition, entry, given=newest, by=_US)
            return True
        if newest <= max(state.base_version, state.to_generation):
            return False
        if not await self._hands.written_by_operator(definition, newest):
            return False
        await self._start(definition, entry, given=newest, by=By(actor="operator"))
        return True

    async def _start(self, definition: SecretDefinition, entry: Entry, *, given: int, by: By) -> Rotation:
        state = entry.state
        emit = state.emit if state is not None else 0
        with step("rotation.start", root=True):
            event = Start(
                secret=definition.name,
                intent=uuid.uuid4().hex,
                base_version=given or await self._hands.newest(definition),
                given=given,
                old_key_id=await self._hands.key_id(definition, emit) if emit else "",
                now=self._clock(),
                trace=traceparent(),
            )
            after = machine.step(state, event, self._timing).state
            await self._journal.save(entry, after, now=self._clock(), by=by)
            log.info("rotation_started", secret_name=definition.name, intent=after.intent)
        return after

    async def _definition(self, name: str) -> SecretDefinition:
        async with self._store.begin() as work:
            row = await work.secrets.get(name)
        if row is None:
            raise NotFound(f"no secret {name}")
        return parse_definition(row.definition)
