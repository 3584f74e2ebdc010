"""What counts as proof: a wanted policy and what one sidecar says of itself give a state and the first thing missing.

Pure. The ledger keeps the two sides, this file judges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bartizan.api import INCAPABLE

PROBE_SECONDS = 30.0
"""A probe older than this proves nothing any more; sidecars probe every 10 s."""
_AROUND = ("model_reachable_around", "model_unchecked_around")
"""Conditions of a sidecar in Kubernetes: the model answers at the pod's address, or nobody looked yet."""
State = Literal["enforced", "pending", "refused", "stale", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The newest publication of a policy and the sidecars that it selects: same namespace, labels a subset of theirs."""

    policy: str
    namespace: str
    match_labels: Mapping[str, str]
    version: int
    revision: int
    plan_hash: str
    requires: frozenset[str] = frozenset()
    key_set: str = ""

    def selects(self, instance: Instance) -> bool:
        """An empty selector selects nobody."""
        return (
            bool(self.match_labels)
            and self.namespace == instance.namespace
            and self.match_labels.items() <= instance.labels.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An attested sidecar."""

    instance_id: str
    spiffe_id: str
    namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One heartbeat, as far as the ledger needs it. `sent_at` and `probe_at` in seconds since the epoch."""

    boot_id: str
    sequence: int
    sent_at: float = 0.0
    agent_version: str = ""
    envoy_version: str = ""
    capabilities: frozenset[str] = frozenset()
    ready: bool = False
    conditions: tuple[str, ...] = ()
    policy: str = ""
    version: int = 0
    revision: int = 0
    plan_hash: str = ""
    workers_loaded: int = 0
    workers: int = 0
    envoy_acked: bool = False
    probe_good: bool = False
    probe_at: float = 0.0
    probe_reason: str = ""
    trace_id: str = ""
    refused_version: int = 0
    refused_reason: str = ""
    refused_path: str = ""
    secret_versions: Mapping[str, str] = field(default_factory=dict)
    key_set_versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def probe_fresh(self) -> bool:
        """By the sidecar's own clock; one that was set meanwhile makes it wait for the next probe."""
        return abs(self.sent_at - self.probe_at) < PROBE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A NACK on the ADS stream."""

    policy: str
    version: int
    reason: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sidecar under one policy. reason is "" only when enforced; received_at is 0 when it never reported."""

    instance_id: str
    spiffe_id: str
    state: State
    reason: str = ""
    path: str = ""
    version: int = 0
    revision: int = 0
    trace_id: str = ""
    received_at: float = 0.0


def row_of(
    instance: Instance,
    wanted: Wanted,
    seen: Observation | None,
    judged: tuple[State, str, str],
    received_at: float,
) -> Row:
    """judged: as of `judge`. Made at once: a look at a large fleet makes thousands."""
    state, reason, path = judged
    ours = seen if seen is not None and seen.policy == wanted.policy else None
    return Row(
        instance_id=instance.instance_id,
        spiffe_id=instance.spiffe_id,
        state=state,
        reason=reason,
        path=path,
        version=ours.version if ours else 0,
        revision=ours.revision if ours else 0,
        trace_id=ours.trace_id if ours else "",
        received_at=received_at,
    )


def judge(
    wanted: Wanted, seen: Observation, refused: Refused | None, key_set_version: int = 0
) -> tuple[State, str, str]:
    """State, reason and document path of a live sidecar. Everything must be proven; what is missing first is named.

    key_set_version: the newest one of the policy's key set, 0 when it has none. With an older one it still accepts
    keys that were revoked. With a newer policy or set than ours it refuses ours: an older store was restored (or, for
    a moment, another replica was faster).
    """
    ours = seen.policy == wanted.policy
    if ours and seen.version == wanted.version:
        if not seen.envoy_acked:
            return "pending", "envoy_not_acknowledged", ""
        if seen.workers < 1 or seen.workers_loaded != seen.workers:
            return "pending", "workers_not_loaded", ""
        if seen.plan_hash != wanted.plan_hash:
            return "pending", "plan_hash_differs", ""
        if not seen.probe_good:
            return "pending", f"probe_{seen.probe_reason or 'missing'}", ""
        if not seen.probe_fresh:
            return "pending", "probe_too_old", ""
        if not seen.ready:
            return "pending", "not_ready", ""
        for around in _AROUND:
            # What goes around the listener is not under the policy, however well the policy is enforced there.
            if around in seen.conditions:
                return "pending", around, ""
        held = seen.key_set_versions.get(wanted.key_set, 0)
        if key_set_version and held != key_set_version:
            return "pending", "key_set_behind" if held < key_set_version else "newer_key_set", ""
        return "enforced", "", ""
    # It keeps what it has: not its refusal of a bundle, but a release that is too old for this one.
    missing = wanted.requires - seen.capabilities
    if missing and seen.capabilities:
        return "pending", f"{INCAPABLE}: {', '.join(sorted(missing))}", ""
    # A sidecar that enforces nothing yet still names the policy it refused by version alone.
    if seen.refused_version == wanted.version and (ours or not seen.policy):
        return "refused", seen.refused_reason or "no_reason_given", seen.refused_path
    if refused is not None and (refused.policy, refused.version) == (wanted.policy, wanted.version):
        return "refused", refused.reason, refused.path
    if ours and seen.version > wanted.version:
        return "pending", "newer_version", ""
    return "pending", "other_version" if ours else "not_received", ""


def split_reason(reason: str) -> tuple[str, str]:
    """Document path and text of a NACK's "path: text"; the path is "" when there is none."""
    path, colon, text = reason.partition(": ")
    return (path, text) if colon and path.startswith("spec.") and " " not in path else ("", reason)
