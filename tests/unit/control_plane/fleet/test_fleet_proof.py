"""One sidecar is judged: "enforced" only with every proof, and what is missing is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.proof import Instance, Observation, Refused, Wanted, judge

WANTED = Wanted(
    policy="prod/chat",
    namespace="prod",
    match_labels={"app": "chat"},
    version=4,
    revision=2,
    plan_hash="h",
    requires=frozenset({"a"}),
    key_set="keys",
)
ONE = Instance(
    instance_id="i1", spiffe_id="spiffe://t/ns/prod/sa/x", namespace="prod", labels={"app": "chat", "z": "1"}
)
PROVEN = Observation(
    boot_id="b1",
    sequence=1,
    policy="prod/chat",
    version=4,
    revision=2,
    plan_hash="h",
    workers_loaded=2,
    workers=2,
    envoy_acked=True,
    probe_good=True,
    probe_at=500.0,
    sent_at=510.0,
    ready=True,
    key_set_versions={"keys": 7},
    capabilities=frozenset({"a"}),
)


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({}, "enforced", ""),
        ({"envoy_acked": False}, "pending", "envoy_not_acknowledged"),
        ({"workers_loaded": 1}, "pending", "workers_not_loaded"),
        ({"workers_loaded": 0, "workers": 0}, "pending", "workers_not_loaded"),
        ({"plan_hash": "x"}, "pending", "plan_hash_differs"),
        ({"probe_good": False}, "pending", "probe_missing"),
        ({"probe_good": False, "probe_reason": "timeout"}, "pending", "probe_timeout"),
        ({"probe_at": 480.0}, "pending", "probe_too_old"),
        ({"probe_at": 0.0}, "pending", "probe_too_old"),
        ({"probe_at": 900.0}, "pending", "probe_too_old"),
        ({"ready": False}, "pending", "not_ready"),
        ({"conditions": ("model_reachable_around",)}, "pending", "model_reachable_around"),
        ({"conditions": ("model_unchecked_around",)}, "pending", "model_unchecked_around"),
        ({"key_set_versions": {"keys": 6}}, "pending", "key_set_behind"),
        ({"key_set_versions": {}}, "pending", "key_set_behind"),
        ({"key_set_versions": {"keys": 8}}, "pending", "newer_key_set"),
        ({"version": 3}, "pending", "other_version"),
        ({"version": 5}, "pending", "newer_version"),
        ({"policy": "prod/other"}, "pending", "not_received"),
        ({"version": 3, "refused_version": 3, "refused_reason": "r"}, "pending", "other_version"),
        ({"version": 3, "refused_version": 4, "refused_reason": "r"}, "refused", "r"),
        ({"policy": "", "version": 0, "refused_version": 4, "refused_reason": "r"}, "refused", "r"),
        ({"version": 3, "capabilities": frozenset({"b"})}, "pending", "incapable: a"),
        (
            {"version": 3, "capabilities": frozenset({"b"}), "refused_version": 4, "refused_reason": "r"},
            "pending",
            "incapable: a",
        ),
        ({"version": 3, "capabilities": frozenset()}, "pending", "other_version"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, Any], state: str, reason: str) -> None:
    assert judge(WANTED, replace(PROVEN, **change), None, 7)[:2] == (state, reason)


@given(
    version=st.integers(3, 5),
    acked=st.booleans(),
    loaded=st.integers(0, 3),
    workers=st.integers(0, 3),
    plan=st.sampled_from(["h", "x", ""]),
    probe=st.booleans(),
    refused=st.none() | st.just(Refused(policy="prod/chat", version=4, reason="r", path="")),
)
def test_enforced_means_every_proof(
    version: int, acked: bool, loaded: int, workers: int, plan: str, probe: bool, refused: Refused | None
) -> None:
    seen = replace(
        PROVEN,
        version=version,
        envoy_acked=acked,
        workers_loaded=loaded,
        workers=workers,
        plan_hash=plan,
        probe_good=probe,
    )
    proven = version == 4 and acked and loaded == workers >= 1 and plan == "h" and probe
    assert (judge(WANTED, seen, refused)[0] == "enforced") == proven


@pytest.mark.parametrize(
    ("namespace", "labels", "selected"),
    [
        ("prod", {"app": "chat"}, True),
        ("prod", {"app": "chat", "more": "x"}, True),
        ("prod", {"app": "other"}, False),
        ("prod", {}, False),
        ("dev", {"app": "chat"}, False),
    ],
)
def test_a_policy_selects_by_namespace_and_labels(
    namespace: str, labels: dict[str, str], selected: bool
) -> None:
    assert WANTED.selects(replace(ONE, namespace=namespace, labels=labels)) is selected
    assert not replace(WANTED, match_labels={}).selects(ONE)
