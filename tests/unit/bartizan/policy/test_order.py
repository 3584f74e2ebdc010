"""Documents are shown with their fields in the order of the reference, and are the same documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from bartizan.policy.order import in_order

EXAMPLES = sorted(Path(__file__).resolve().parents[4].glob("examples/policies/*.yaml"))


def as_stored(document: dict[str, Any]) -> dict[str, Any]:
    """Every mapping by the alphabet, as canonical JSON has it."""
    stored: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document, order="sorted"))
    return stored


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_stored_document_is_the_same_in_another_order(example: Path) -> None:
    stored = as_stored(yaml.safe_load(example.read_text()))
    assert in_order(stored) == stored
    assert list(in_order(stored)) == ["apiVersion", "kind", "metadata", "spec"]


def test_fields_stand_as_the_reference_lists_them_at_every_depth() -> None:
    spec = {
        "output": [{"pii": {"action": "redact", "types": ["email"]}}, {"secrets": None}],
        "mode": "shadow",
        "selector": {"matchLabels": {"b": "1", "a": "2"}},
        "authn": {
            "jwt": [{"jwksUri": "u", "issuer": "i", "claims": {"tenant": "t"}}],
            "apiKeys": {"set": "x"},
        },
    }
    ordered = in_order({"spec": spec, "kind": "ModelPolicy", "metadata": {"namespace": "n", "name": "x"}})
    assert list(ordered) == ["kind", "metadata", "spec"]
    assert list(ordered["metadata"]) == ["name", "namespace"]
    assert list(ordered["spec"]) == ["selector", "authn", "output", "mode"]
    assert list(ordered["spec"]["selector"]["matchLabels"]) == ["b", "a"]
    assert list(ordered["spec"]["authn"]) == ["apiKeys", "jwt"]
    assert list(ordered["spec"]["authn"]["jwt"][0])[:2] == ["issuer", "claims"]
    assert list(ordered["spec"]["output"][0]["pii"]) == ["types", "action"]


def test_a_mesh_policy_has_an_order_of_its_own() -> None:
    ordered = in_order(
        {
            "kind": "MeshPolicy",
            "spec": {"overrides": {"tenants": ["a"], "listener": {}}, "priority": 1, "selector": {}},
        }
    )
    assert list(ordered["spec"]) == ["selector", "priority", "overrides"]
    assert list(ordered["spec"]["overrides"]) == ["listener", "tenants"]


def test_what_the_language_does_not_know_is_kept() -> None:
    assert in_order({"kind": "ModelPolicy", "spec": {"new": {"z": 1, "a": 2}}, "more": [1]}) == {
        "kind": "ModelPolicy",
        "spec": {"new": {"z": 1, "a": 2}},
        "more": [1],
    }
