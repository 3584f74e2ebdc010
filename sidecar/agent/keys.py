"""The API-key sets that this sidecar holds: verified, never older than before, handed to every worker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from bartizan.policy.keyset import KeySet
from protos.gen.bartizan.identity.v1 import identity_pb2
from sidecar.agent.changes import Changes
from sidecar.agent.verify import Verifier
from sidecar.agent.versions import SeenVersions
from sidecar.agent.workers import WorkerPool


class KeySets:
    """Key sets by name, with the signed messages for the last-good file."""

    def __init__(self, verifier: Verifier, seen: SeenVersions, workers: WorkerPool, changes: Changes) -> None:
        self._verifier = verifier
        self._seen = seen
        self._workers = workers
        self._changes = changes
        self._held: dict[str, KeySet] = {}
        self._messages: dict[str, bytes] = {}

    def take(self, messages: Iterable[identity_pb2.KeySet], saved_at: dt.datetime | None = None) -> None:
        """Verify all, then use them. Raises ResourceRejected; then none of them is used."""
        verified = [(self._verifier.key_set(message, saved_at), message) for message in messages]
        for key_set, message in verified:
            self._messages[key_set.name] = message.SerializeToString(deterministic=True)
            self.use(key_set)
            self._seen.took_key_set(key_set.name, key_set.version)

    def use(self, key_set: KeySet) -> None:
        """Take a set that needs no verification (local mode: the operator's own file)."""
        self._held[key_set.name] = key_set
        self._workers.set_keys(key_set)
        self._changes.notify()

    def __contains__(self, name: str) -> bool:
        return name in self._held

    @property
    def messages(self) -> Mapping[str, bytes]:
        """Serialized signed messages by name."""
        return self._messages
