"""Secrets as admins see them: define, rotate, look. Values live in Vault and pass through none of this."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from bartizan.api import RotationInfo, SecretInfo
from bartizan.errors import Conflict, DependencyUnavailable, InvalidInput, NotFound, Problem
from control_plane.policies.actor import Actor
from control_plane.secrets.definition import SecretDefinition, encode_definition, parse_definition
from control_plane.secrets.providers.places import Places
from control_plane.secrets.rotation.faults import TROUBLES
from control_plane.secrets.rotation.machine import ENDED, Rotation
from control_plane.store.base import SecretRow, Store

_MOVED = Problem(
    path="path",
    code="immutable",
    message="the secret's generations are version numbers at its present path",
    hint="define a secret of another name for the new path and name that one in the policy",
)


class Rotations(Protocol):
    """What is needed of the rotation engine."""

    async def rotate(self, name: str, *, by: str, peer: str = "", request_id: str = "") -> Rotation: ...
    async def roll_back(self, name: str, *, by: str, peer: str = "", request_id: str = "") -> Rotation: ...
    async def status(self, name: str) -> Rotation | None: ...
    def trouble(self, name: str) -> str: ...
    def wake(self) -> None: ...


class Definitions:
    """Definitions in the store; a new one makes the engine begin its first rotation."""

    def __init__(
        self,
        store: Store,
        engine: Callable[[], Rotations],
        *,
        places: Places = Places(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        """engine: called for each use; raises DependencyUnavailable before there is one. places: of providers."""
        self._store = store
        self._engine = engine
        self._places = places
        self._clock = clock

    async def define(self, name: str, definition: Mapping[str, Any], actor: Actor) -> SecretInfo:
        """Raises InvalidInput with every problem, a new path for a used secret too; Conflict while one rotates, or
        when another secret has the path.
        """
        if definition.get("name", name) != name:
            problem = Problem(path="name", code="invalid_value", message=f"the path says {name}")
            raise InvalidInput("the secret's definition was refused", [problem])
        parsed = parse_definition({**definition, "name": name})
        misplaced = self._places.problems(parsed.provider)
        if misplaced:
            raise InvalidInput("the secret's definition was refused", misplaced)
        now = self._clock()
        async with self._store.begin() as work:
            known = await work.secrets.get(name)
            if parsed.path == parsed.provider.headers_path:
                raise Conflict("provider.headers_path holds the value of the secret itself")
            for other in await work.secrets.all():
                _check_apart(parsed, parse_definition(other.definition))
            row = SecretRow(
                name=name,
                definition=encode_definition(parsed),
                created_at=known.created_at if known else now,
                created_by=known.created_by if known else actor.label,
                updated_at=now,
            )
            journal = await work.rotations.load(name)
            changed = known is None or known.definition != row.definition
            if changed and known is not None and journal is not None and journal.phase not in ENDED:
                raise Conflict(f"a rotation of {name} is under way; its definition can be changed after it")
            if (
                known is not None
                and journal is not None
                and parse_definition(known.definition).path != parsed.path
            ):
                raise InvalidInput("the secret's definition was refused", [_MOVED])
            if changed:
                await work.secrets.put(row)
                await work.events.record(actor.event(now, "secret.define", name))
        if changed:
            # Without an engine (Vault was never there yet) it finds the definition when it starts.
            with contextlib.suppress(DependencyUnavailable):
                self._engine().wake()
        return secret_info(row if changed or known is None else known)

    async def rotate(self, name: str, actor: Actor) -> RotationInfo:
        """Raises NotFound, Conflict when one is under way, DependencyError."""
        engine = self._engine()
        async with self._store.begin() as work:
            if await work.secrets.get(name) is None:
                raise NotFound(f"no secret {name}")
        # The engine records the event in the journal's own transaction: a rotation that is refused leaves none.
        state = await engine.rotate(name, by=actor.label, peer=actor.peer, request_id=actor.request_id)
        return self._info(name, state)

    async def roll_back(self, name: str, actor: Actor) -> RotationInfo:
        """Back to the old key. Raises NotFound, Conflict when it is too late or there is nothing to go back to."""
        state = await self._engine().roll_back(
            name, by=actor.label, peer=actor.peer, request_id=actor.request_id
        )
        return self._info(name, state)

    async def rotation(self, name: str) -> RotationInfo:
        """Raises NotFound."""
        return self._info(name, await self._engine().status(name))

    def _info(self, name: str, state: Rotation | None) -> RotationInfo:
        error = self._engine().trouble(name)
        if state is None:
            # Defined, and the engine has not begun its first rotation yet.
            return RotationInfo(
                secret=name, phase="none", finished=False, error=error, updated_at=self._clock()
            )
        return RotationInfo(
            secret=name,
            phase=state.phase.value,
            finished=state.phase in ENDED,
            from_generation=state.from_generation,
            to_generation=state.to_generation,
            waiting_for=(*((state.waiting,) if state.waiting else ()), *state.behind),
            error=error or (state.waiting if state.waiting in TROUBLES else ""),
            updated_at=state.phase_at,
        )


def _check_apart(made: SecretDefinition, other: SecretDefinition) -> None:
    """Whose path is another's too would have that one's value sent to its own provider. Raises Conflict."""
    if made.name == other.name:
        return
    if made.path == other.path:
        raise Conflict(f"path {made.path} belongs to the secret {other.name}")
    if made.provider.headers_path == other.path:
        raise Conflict(f"provider.headers_path {other.path} holds the value of the secret {other.name}")
    if made.path == other.provider.headers_path:
        raise Conflict(
            f"path {made.path} holds what the provider of the secret {other.name} is sent as headers"
        )


def secret_info(row: SecretRow) -> SecretInfo:
    """A stored definition as the API shows it."""
    return SecretInfo(
        name=row.name,
        definition=msgspec.json.decode(row.definition, type=dict[str, Any]),
        created_at=row.created_at,
        created_by=row.created_by,
        updated_at=row.updated_at,
    )
