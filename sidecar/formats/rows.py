"""The single queries of a request: what a batch holds, by the members in which protocols put one.

KServe v1 and TF-Serving `instances`, MLflow `dataframe_records` and `dataframe_split`, embeddings `input`, KServe v2
tensors by their first dimension. Any other body is one query.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

MOST: Final = 65_536
"""Rows of one body that are told apart; the rest count as one."""
_LISTS: Final = ("instances", "examples", "dataframe_records", "input", "inputs")


def rows(value: Any) -> Sequence[bytes]:
    """Each row as bytes; equal rows are equal. At least one."""
    found = _rows(value)
    if len(found) > MOST:
        found = [*found[: MOST - 1], found[MOST - 1 :]]
    return [json.dumps(row, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace") for row in found]


def _rows(value: Any) -> Sequence[Any]:
    if isinstance(value, list) and value:
        return value
    if not isinstance(value, dict):
        return [value]
    if isinstance(inputs := value.get("inputs"), list) and inputs and isinstance(inputs[0], dict):
        return _tensors(inputs) or [value]
    if isinstance(frame := value.get("dataframe_split"), dict) and isinstance(frame.get("data"), list):
        return frame["data"] or [value]
    for name in _LISTS:
        if isinstance(listed := value.get(name), list) and listed:
            # one prompt as a list of tokens, or a chat's items, is one query
            single = name == "input" and not all(isinstance(item, str) for item in listed)
            return [listed] if single else listed
    return [value]


def _tensors(inputs: list[Any]) -> Sequence[Any]:
    """Rows over all tensors of a v2 request; none where they have no first dimension in common."""
    if not all(isinstance(one, dict) for one in inputs):
        return ()
    sizes = {str(one["shape"][0]) for one in inputs if isinstance(one.get("shape"), list) and one["shape"]}
    if len(sizes) != 1 or not (said := sizes.pop()).isdecimal() or not 0 < int(said) <= MOST:
        return ()
    size = int(said)
    columns = [_split(one.get("data"), size) for one in inputs]
    return list(zip(*columns, strict=True)) if all(columns) else ()


def _split(data: Any, size: int) -> list[Any]:
    if not isinstance(data, list) or not data or len(data) % size:
        return []
    step = len(data) // size
    return [data[at : at + step] for at in range(0, len(data), step)]
