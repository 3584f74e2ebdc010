"""The last good bundle with its keys and secrets, so that a restart serves it while no control plane is there.

Memory always holds it; disk only under a seal key, because it holds secrets. What is read back is verified again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from bartizan.errors import TrustError
from bartizan.tasks import Shelter
from bartizan.telemetry.logging import get_logger
from sidecar.agent import conditions as names
from sidecar.agent.conditions import Conditions
from sidecar.agent.sealed import Seal

RETRY = 5.0

log = get_logger()


class SavedSecret(msgspec.Struct, frozen=True, kw_only=True):
    generation: str
    secret: bytes
    """envoy Secret, serialized."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to serve without a control plane; all messages serialized as they were received."""

    saved_at: float
    bundle: bytes
    key_sets: dict[str, bytes]
    secrets: dict[str, SavedSecret]


class LastGood:
    """Writes whenever told so; a disk that is full costs a condition, never the process."""

    def __init__(self, file: Path, seal: Seal | None, conditions: Conditions) -> None:
        self._path = file
        self._seal = seal
        self._conditions = conditions
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._shelter = Shelter()
        self._written: Saved | None = None
        conditions.set(names.NOT_SEALED, holds=seal is None)

    def read(self) -> Saved | None:
        """What the predecessor left; None without a seal key or file, or when it does not open."""
        if self._seal is None:
            return None
        try:
            raw = self._seal.open(self._path)
            return None if raw is None else msgspec.msgpack.decode(raw, type=Saved)
        except (TrustError, msgspec.MsgspecError) as error:
            log.error("last_good_unreadable", reason=str(error))
            return None

    def changed(self) -> None:
        """What `collect` returns may be new."""
        self._changed.set()

    async def run(self, save: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled: call `save` (which ends in `write`) after every change, and again while the disk refuses."""
        if self._seal is None:
            return
        while True:
            await self._changed.wait()
            self._changed.clear()
            await save()
            if names.LAST_GOOD_NOT_SAVED in self._conditions:
                await asyncio.sleep(RETRY)
                self._changed.set()

    async def write(self, saved: Saved | None) -> None:
        """Save this now, if it is new; None: no policy, the file goes. A disk that refuses costs a condition."""
        if self._seal is not None and (self._lock.locked() or not self._is_written(saved)):
            # a thread that writes can't be called back: what comes next must wait for it, whoever is gone meanwhile
            await self._shelter.run(self._in_turn(self._seal, saved), name="last-good-write")

    async def _in_turn(self, seal: Seal, saved: Saved | None) -> None:
        async with self._lock:
            try:
                await self._write(seal, saved)
            except OSError as error:
                log.error("last_good_not_saved", reason=error.strerror or type(error).__name__)
                self._conditions.set(names.LAST_GOOD_NOT_SAVED, holds=True)
                self._written = None
                self._changed.set()
            else:
                self._conditions.set(names.LAST_GOOD_NOT_SAVED, holds=False)

    async def _write(self, seal: Seal, saved: Saved | None) -> None:
        if saved is None:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)
            self._written = None
            return
        if not self._is_written(saved):
            await asyncio.to_thread(seal.save, self._path, msgspec.msgpack.encode(saved))
            self._written = saved

    def _is_written(self, saved: Saved | None) -> bool:
        """But for the time when it was."""
        written = self._written
        if saved is None or written is None:
            return False
        return msgspec.structs.replace(saved, saved_at=written.saved_at) == written
