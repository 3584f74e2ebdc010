"""Why this sidecar is not ready or runs degraded: a set of constant snake_case words, shown by health and heartbeat."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.agent.changes import Changes

NO_POLICY = "no_policy"
LAST_GOOD_NOT_SAVED = "last_good_not_saved"
SERVING_LAST_GOOD = "serving_last_good"
NOT_SEALED = "state_in_memory_only"
ENVOY_NOT_READY = "envoy_not_ready"
WORKERS_NOT_LOADED = "workers_not_loaded"
PROBE_FAILED = "probe_failed"
SECRET_MISSING = "secret_missing"
KEY_SET_MISSING = "key_set_missing"
JWKS_MISSING = "jwks_missing"
JWKS_STALE = "jwks_stale"
CERTIFICATE_REFUSED = "certificate_refused"
CONTROL_PLANE_AWAY = "control_plane_away"
IDENTITY_EXPIRED = "identity_expired"
AUDIT_LOSING = "audit_losing"
VERSIONS_NOT_SAVED = "versions_not_saved"
VERSIONS_LOST = "versions_lost"
MODEL_REACHABLE_AROUND = "model_reachable_around"
MODEL_UNCHECKED_AROUND = "model_unchecked_around"

# with one of these the sidecar does not enforce its policy for new requests
BLOCKING = frozenset({NO_POLICY, ENVOY_NOT_READY, WORKERS_NOT_LOADED, PROBE_FAILED, SECRET_MISSING})


class Conditions:
    """The conditions that hold now; every change rings the bell that the heartbeat listens to."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._holding: set[str] = set()

    def set(self, name: str, *, holds: bool) -> None:
        if holds != (name in self._holding):
            (self._holding.add if holds else self._holding.discard)(name)
            self._changes.notify()

    def __contains__(self, name: str) -> bool:
        return name in self._holding

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._holding))

    @property
    def ready(self) -> bool:
        return not (self._holding & BLOCKING)
