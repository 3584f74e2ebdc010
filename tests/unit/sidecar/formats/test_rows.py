"""A batch is as many queries as it has rows, in every protocol that has batches."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.formats.rows import MOST, rows


def tensor(data: Any, *shape: int) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": list(shape), "data": data}


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"text": "one"}, 1),
        ({"instances": [[1, 2], [3, 4], [5, 6]]}, 3),
        ({"examples": [{"a": 1}, {"a": 2}]}, 2),
        ({"dataframe_records": [{"a": 1}, {"a": 2}]}, 2),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [2], [3], [4]]}}, 4),
        ({"input": ["one", "two"]}, 2),
        ({"input": "one"}, 1),
        ({"input": [1, 2, 3]}, 1),  # tokens of one prompt
        ({"input": [{"role": "user", "content": "hi"}, {"role": "user", "content": "ho"}]}, 1),
        ({"messages": [{"role": "user", "content": "hi"}]}, 1),
        ({"inputs": [tensor([1, 2, 3, 4], 2, 2)]}, 2),
        ({"inputs": [tensor([[1, 2], [3, 4]], 2, 2), tensor(["a", "b"], 2)]}, 2),
        ({"inputs": [tensor([1, 2, 3], 3), tensor([1, 2], 2)]}, 1),
        ({"inputs": [tensor([1, 2, 3], 2)]}, 1),
        ({"inputs": [tensor([1, 2], -1)]}, 1),
        ({"inputs": [tensor([1, 2], 10**9)]}, 1),
        ({"inputs": {"a": [1, 2]}}, 1),
        ({"inputs": [[1.0], [2.0]]}, 2),
        ([{"a": 1}, {"a": 2}], 2),
        ([], 1),
        ({"instances": []}, 1),
        ({"instances": list(range(MOST + 9))}, MOST),
    ],
)
def test_a_batch_counts_by_its_rows(body: Any, count: int) -> None:
    assert len(rows(body)) == count


def test_equal_rows_are_equal_wherever_they_stand_and_others_are_not() -> None:
    assert rows({"instances": [{"a": 1, "b": 2}]}) == rows({"instances": [{"b": 2, "a": 1}]})
    first, second = rows({"inputs": [tensor([1, 2, 3, 4], 2, 2)]})
    assert first != second
    assert rows({"inputs": [tensor([3, 4], 1, 2)]})[0] == second
