"""RFC 6902: the operations that make one JSON document of another, and applying them. Pure."""

from __future__ import annotations

import copy
from typing import Any, Literal

import msgspec

from bartizan.errors import InvalidInput, Problem


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step; `path` is a JSON pointer (RFC 6901). `value` has no meaning for remove."""

    op: Literal["add", "remove", "replace"]
    path: str
    value: Any = msgspec.UNSET


def difference(before: Any, after: Any, path: str = "") -> list[Operation]:
    """Operations that make `after` of `before`; deterministic, empty when both are equal."""
    match before, after:
        case dict(), dict():
            return _of_objects(before, after, path)
        case list(), list():
            return _of_lists(before, after, path)
    if _same(before, after):
        return []
    return [Operation(op="replace", path=path, value=after)]


def apply(document: Any, operations: list[Operation] | tuple[Operation, ...]) -> Any:
    """The patched copy. Raises InvalidInput for an operation that does not fit."""
    root = {"": copy.deepcopy(document)}
    for operation in operations:
        *parents, last = [_unescaped(token) for token in operation.path.split("/")]
        target: Any = root
        try:
            for token in parents:
                target = target[int(token)] if isinstance(target, list) else target[token]
            _apply_one(target, last, operation)
        except (KeyError, IndexError, ValueError, TypeError):
            raise InvalidInput(
                "the patch does not fit",
                [Problem(path=operation.path, code="no_such_path", message=f"can't {operation.op}")],
            ) from None
    return root[""]


def _of_objects(before: dict[str, Any], after: dict[str, Any], path: str) -> list[Operation]:
    found = [Operation(op="remove", path=f"{path}/{_escaped(key)}") for key in before if key not in after]
    for key, value in after.items():
        below = f"{path}/{_escaped(key)}"
        if key in before:
            found += difference(before[key], value, below)
        else:
            found.append(Operation(op="add", path=below, value=value))
    return found


def _of_lists(before: list[Any], after: list[Any], path: str) -> list[Operation]:
    """Equal ends stay; what is between is compared item by item, the rest removed or added there."""
    start = 0
    while start < min(len(before), len(after)) and _same(before[start], after[start]):
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and _same(before[-1 - end], after[-1 - end]):
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    # Items are told apart by name: what got in before them must not look like a change of all of them.
    added_first = _first_match(old, new)
    found = [
        Operation(op="add", path=f"{path}/{start + index}", value=value)
        for index, value in enumerate(new[:added_first])
    ]
    start, new = start + added_first, new[added_first:]
    both = min(len(old), len(new))
    for index in range(both):
        found += difference(old[index], new[index], f"{path}/{start + index}")
    found += [
        Operation(op="remove", path=f"{path}/{start + index}") for index in range(len(old) - 1, both - 1, -1)
    ]
    found += [
        Operation(op="add", path=f"{path}/{start + index}", value=new[index])
        for index in range(both, len(new))
    ]
    return found


def _first_match(old: list[Any], new: list[Any]) -> int:
    """How many items of `new` stand before the one that bears the name of the first old one."""
    first = old[0].get("name") if old and isinstance(old[0], dict) else None
    if first is None:
        return 0
    for index, item in enumerate(new):
        if isinstance(item, dict) and item.get("name") == first:
            return index
    return 0


def _apply_one(target: Any, last: str, operation: Operation) -> None:
    if isinstance(target, list):
        index = len(target) if last == "-" else int(last)
        if index < 0 or index > len(target) or (operation.op != "add" and index == len(target)):
            raise IndexError(last)
        match operation.op:
            case "add":
                target.insert(index, copy.deepcopy(operation.value))
            case "remove":
                del target[index]
            case "replace":
                target[index] = copy.deepcopy(operation.value)
        return
    if not isinstance(target, dict) or (operation.op != "add" and last not in target):
        raise KeyError(last)
    if operation.op == "remove":
        del target[last]
    else:
        target[last] = copy.deepcopy(operation.value)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is not true."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
        case list(), list():
            return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def _unescaped(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")
