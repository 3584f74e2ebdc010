"""Problems of a file are named with the lines of its text."""

from __future__ import annotations

import pytest

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.positions import lines_of, located

TEXT = """\
kind: ModelPolicy
spec:
  tenants: &them
    - acme
    - globex
  "odd key": {a: 1, b: [2]}
  again: *them
"""


def test_a_member_stands_where_its_key_does_and_an_item_where_it_begins() -> None:
    assert lines_of(TEXT) == {
        "kind": 1,
        "spec": 2,
        "spec.tenants": 3,
        "spec.tenants[0]": 4,
        "spec.tenants[1]": 5,
        'spec["odd key"]': 6,
        'spec["odd key"].a': 6,
        'spec["odd key"].b': 6,
        'spec["odd key"].b[0]': 6,
        "spec.again": 7,
        "spec.again[0]": 4,
        "spec.again[1]": 5,
    }


@pytest.mark.parametrize("text", ["a: [", "", "a: *b", b"\xff", "a: " + "[" * 100 + "]" * 100])
def test_what_can_t_be_read_has_no_lines(text: str | bytes) -> None:
    assert lines_of(text) == {}


def test_what_is_missing_is_looked_for_in_the_mapping_that_should_have_it() -> None:
    def problem(path: str, document: str = "") -> Problem:
        return Problem(path=path, code="x", message="is wrong", document=document)

    refused = PolicyInvalid(
        "the policy has problems",
        [
            problem("spec.tenants[1]"),
            problem("spec.model.name"),
            problem("spec.tenants[7].x"),
            problem("metadata"),
            problem("spec.tenants", "MeshPolicy base"),
        ],
    )
    assert str(located(refused, TEXT, "a.yaml")).splitlines() == [
        "a.yaml: the policy has problems",
        "  metadata: is wrong",
        "  line 2, spec.model.name: is wrong",
        "  line 3, spec.tenants[7].x: is wrong",
        "  line 5, spec.tenants[1]: is wrong",
        "  MeshPolicy base, spec.tenants: is wrong",
    ]
