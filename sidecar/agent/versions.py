"""The highest version ever enforced of each bundle and key set, kept on disk: an older one is never taken again.

It rises in memory when a version is taken, and on disk (`persist`) after the last good bundle was saved: an agent that
dies in between leaves a saved bundle that its successor still takes. Without a writable state folder the memory of
this process must do, and a condition says so; another one says that an unreadable file was given up.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from bartizan.telemetry.logging import get_logger
from sidecar.agent import conditions as names
from sidecar.agent.conditions import Conditions
from sidecar.agent.sealed import write_atomically

log = get_logger()


class _File(msgspec.Struct):
    bundles: dict[str, int] = {}
    key_sets: dict[str, int] = {}


class SeenVersions:
    """Anti-rollback memory."""

    def __init__(self, file: Path, conditions: Conditions) -> None:
        self._path = file
        self._conditions = conditions
        self._seen = _File()
        self._saved = b""
        try:
            self._seen = msgspec.json.decode(file.read_bytes(), type=_File)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            # a damaged file must not stop a sidecar for ever; bundles stay signed, only age is not known
            log.error("versions_unreadable", file=str(file), reason=type(error).__name__)
            conditions.set(names.VERSIONS_LOST, holds=True)

    def bundle(self, policy: str) -> int:
        return self._seen.bundles.get(policy, 0)

    def key_set(self, name: str) -> int:
        return self._seen.key_sets.get(name, 0)

    def took_bundle(self, policy: str, version: int) -> None:
        if version > self.bundle(policy):
            self._seen.bundles[policy] = version

    def took_key_set(self, name: str, version: int) -> None:
        if version > self.key_set(name):
            self._seen.key_sets[name] = version

    def encoded(self) -> bytes:
        """As they are now, for `persist`."""
        return msgspec.json.encode(self._seen, order="deterministic")

    def persist(self, data: bytes) -> None:
        """Write what rose since the last time; a disk that refuses costs a condition."""
        if data == self._saved:
            return
        try:
            write_atomically(self._path, data)
        except OSError as error:
            log.error("versions_not_saved", reason=type(error).__name__)
            self._conditions.set(names.VERSIONS_NOT_SAVED, holds=True)
        else:
            self._saved = data
            self._conditions.set(names.VERSIONS_NOT_SAVED, holds=False)
