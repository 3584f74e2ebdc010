"""Every accepted field has an end-to-end test: the table names it, and it exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bartizan.policy.mesh import PARTS, MeshPolicy
from tests.support.field_proofs import ENFORCE_NOTHING, PROOFS
from tests.support.mesh_proofs import MESH_PROOFS
from tests.support.policy_leaves import leaves

ROOT = Path(__file__).resolve().parents[4]


def test_every_leaf_of_the_language_has_its_proof() -> None:
    known = PROOFS.keys() | ENFORCE_NOTHING.keys()
    assert leaves() - known == set(), "fields that no end-to-end test proves"
    assert known - leaves() == set(), "proofs of fields that are gone"


def test_every_field_of_a_mesh_policy_has_its_proof_and_what_it_shares_is_a_field_of_a_model_policy() -> None:
    shared = tuple(f"spec.{part}." for part in PARTS)
    mesh = leaves(MeshPolicy)
    own = {path for path in mesh if not path.startswith(shared)} - ENFORCE_NOTHING.keys()
    proven = {path for path in own if path in MESH_PROOFS or path.startswith("spec.selector.protocols[]=")}
    assert own - proven - {"kind=MeshPolicy"} == set()
    assert {
        "spec." + path.removeprefix(part) for part in shared for path in mesh if path.startswith(part)
    } <= leaves()


@pytest.mark.parametrize(
    "node", sorted({node for table in (PROOFS, MESH_PROOFS) for nodes in table.values() for node in nodes})
)
def test_every_named_proof_exists_and_runs_end_to_end(node: str) -> None:
    file, _, name = node.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    tests = {item.name for item in tree.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))}
    assert name in tests
    assert "pytest.mark.e2e" in (ROOT / file).read_text()
