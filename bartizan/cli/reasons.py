"""What each reason of a policy that is not enforced means to who is asked at night, and what to do about it."""

from __future__ import annotations

REASONS = {
    "not_received": "on its way; if it stays, the sidecar is cut off from the control plane",
    "other_version": "on its way; if it stays, the sidecar is cut off from the control plane",
    "envoy_not_acknowledged": "Envoy has not taken it yet; if it stays, see the sidecar's log",
    "workers_not_loaded": "a guard worker starts or can't build its plan; if it stays, see the sidecar's log",
    "plan_hash_differs": "it runs another policy of the same number: an older store was restored, publish again",
    "probe_": "its listener does not prove the policy: see `curl HOST:15020/status` there",
    "not_ready": "`bartizan instances` shows its conditions, docs/operations.md what they mean",
    "model_reachable_around": "callers reach the model without the guard: bind it to 127.0.0.1, or capture redirect",
    "model_unchecked_around": "nobody could look yet whether the model is reachable without the guard",
    "key_set_behind": "it may still accept revoked keys; it takes the newest set when it is connected",
    "newer_version": "it has seen a newer policy: if it stays, an older store was restored, publish again",
    "newer_key_set": "it has seen newer keys: if it stays, an older store was restored, issue or revoke a key",
    "incapable": "its release is too old for this policy, or lacks an extra: upgrade it; it keeps what it has",
    "not_reported_since_restart": "the control plane has just started: wait half a minute",
    "not_reported_yet": "it has joined and says nothing yet: wait half a minute",
    "never_reported": "it joined and never said anything: see its log, or remove it (`bartizan remove-instance`)",
    "replica_away": "its control plane has just gone: wait half a minute",
    "lease_expired": "it is silent and may serve what it had: look at its host; `bartizan remove-instance` if it ended",
}
"""By the beginning of the reason."""


def meaning(reason: str) -> str:
    """In words; "" for a refusal, whose reason says itself what to mend."""
    return next((words for beginning, words in REASONS.items() if reason.startswith(beginning)), "")
