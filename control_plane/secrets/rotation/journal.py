"""The rotation journal: one row per secret, every change by compare-and-set, each phase an event of who did what."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bartizan.errors import Conflict, InvalidInput
from control_plane.secrets.rotation.machine import Rotation
from control_plane.store.base import AdminEvent, RotationRow, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A state and the row version that the next write must name."""

    state: Rotation | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who moves a rotation on; peer and request id when it was asked for through the API."""

    actor: str
    peer: str = ""
    request_id: str = ""


class Journal:
    """Reads and writes rotation states."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self, secret: str) -> Entry:
        async with self._store.begin() as work:
            row = await work.rotations.load(secret)
        return entry_of(row)

    async def save(self, before: Entry, state: Rotation, *, now: float, by: By) -> Entry:
        """The event of a new phase is written in the same transaction. Raises Conflict when another replica wrote first: load again and go on from there."""
        after = Entry(state=state, version=before.version + 1)
        row = RotationRow(
            secret=state.secret,
            version=after.version,
            intent=state.intent,
            phase=state.phase.value,
            state=msgspec.json.encode(state).decode(),
            updated_at=now,
        )
        async with self._store.begin() as work:
            if not await work.rotations.compare_and_set(row, before.version):
                raise Conflict(f"the rotation of {state.secret} was moved on by somebody else")
            if before.state is None or (before.state.phase, before.state.intent) != (
                state.phase,
                state.intent,
            ):
                await work.events.record(
                    AdminEvent(
                        time=now,
                        actor=by.actor,
                        act=f"rotation.{state.phase}",
                        target=state.secret,
                        detail={"from": state.from_generation, "to": state.to_generation, "emit": state.emit},
                        peer=by.peer,
                        request_id=by.request_id,
                    )
                )
        return after


def entry_of(row: RotationRow | None) -> Entry:
    """A stored row; None: there is none yet. Raises InvalidInput for one that only a newer release can read."""
    if row is None:
        return Entry(state=None, version=0)
    try:
        state = msgspec.json.decode(row.state, type=Rotation)
    except msgspec.MsgspecError:
        raise InvalidInput(f"the rotation of {row.secret} can't be read by this release") from None
    return Entry(state=state, version=row.version)
