"""Every accepted field has an end-to-end test: the table names it, and it exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.field_proofs import ENFORCE_NOTHING, PROOFS
from tests.support.policy_leaves import leaves

ROOT = Path(__file__).resolve().parents[4]


def test_every_leaf_of_the_language_has_its_proof() -> None:
    known = PROOFS.keys() | ENFORCE_NOTHING.keys()
    assert leaves() - known == set(), "fields that no end-to-end test proves"
    assert known - leaves() == set(), "proofs of fields that are gone"


@pytest.mark.parametrize("node", sorted({node for nodes in PROOFS.values() for node in nodes}))
def test_every_named_proof_exists_and_runs_end_to_end(node: str) -> None:
    file, _, name = node.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    tests = {item.name for item in tree.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))}
    assert name in tests
    assert "pytest.mark.e2e" in (ROOT / file).read_text()
