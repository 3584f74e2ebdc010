"""Differences lead from one document to the other, whatever the two are (RFC 6902)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import InvalidInput
from control_plane.injector.json_patch import Operation, apply, difference

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "a/b", "c~d", "", "e"]), below, max_size=4)
    ),
    max_leaves=16,
)


@settings(max_examples=150, deadline=None)
@given(before=DOCUMENTS, after=DOCUMENTS)
def test_the_difference_applied_to_the_one_gives_the_other(before: Any, after: Any) -> None:
    kept = copy.deepcopy(before)
    result = apply(before, difference(before, after))
    assert result == after
    assert repr(result) == repr(after) or isinstance(after, dict | list)
    assert before == kept


@given(document=DOCUMENTS)
def test_equal_documents_differ_by_nothing(document: Any) -> None:
    assert difference(document, copy.deepcopy(document)) == []


def test_what_is_put_before_a_named_item_is_an_addition_not_a_change_of_all() -> None:
    before = {"list": [{"name": "a", "x": 1}, {"name": "b"}]}
    after = {"list": [{"name": "new"}, {"name": "a", "x": 2}, {"name": "b"}]}
    assert difference(before, after) == [
        Operation(op="add", path="/list/0", value={"name": "new"}),
        Operation(op="replace", path="/list/1/x", value=2),
    ]


@pytest.mark.parametrize(
    ("op", "path"),
    [("replace", "/missing"), ("remove", "/a/3"), ("add", "/a/9"), ("add", "/b/c"), ("add", "/a/x")],
)
def test_an_operation_that_does_not_fit_is_refused(op: Any, path: str) -> None:
    with pytest.raises(InvalidInput):
        apply({"a": [1], "b": 1}, [Operation(op=op, path=path, value=0)])
