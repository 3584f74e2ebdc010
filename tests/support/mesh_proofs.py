"""Which end-to-end test fails when a field of a MeshPolicy is ignored (field_proofs.py has those of a ModelPolicy)."""

from __future__ import annotations

_MESH = "tests/e2e/test_mesh_policies.py::"
_SELECTED = (_MESH + "test_only_selected_endpoints_are_touched",)
_DENIED = (_MESH + "test_an_override_denies_whatever_the_policy_says_and_goes_with_its_mesh_policy",)
_FILLED = (_MESH + "test_a_default_completes_a_policy_and_yields_to_it_and_the_higher_priority_wins",)

MESH_PROOFS: dict[str, tuple[str, ...]] = {
    "metadata.name": _DENIED,
    "spec.selector.namespaces[]": _SELECTED,
    "spec.selector.modelLabels": _SELECTED,
    "spec.priority": _FILLED,
    "spec.defaults": _FILLED,
    "spec.overrides": _DENIED,
}
"""Single fields of defaults and overrides become fields of a ModelPolicy, proven above."""
