"""Reading a document that may be wrong anywhere: accessors that give what has the right type and skip the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bartizan.errors import Problem

LONGEST_LIST = 256
"""Of rules, routes, checks and issuers; the schema refuses longer ones, so that judging a policy stays quick."""


def at(document: Any, *keys: str, default: Any = None) -> Any:
    """The value at a path of keys, or the default where something on the way is missing or no mapping."""
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return default
        document = document[key]
    return document


def mapping(document: Any, *keys: str) -> dict[str, Any]:
    """The mapping at a path; empty where there is none."""
    value = at(document, *keys)
    return value if isinstance(value, dict) else {}


def structs(document: Any, *keys: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Document path and value of each mapping in a list, as far as lists may be long."""
    value = at(document, *keys)
    for index, item in enumerate(value[:LONGEST_LIST] if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield f"{'.'.join(keys)}[{index}]", item


def strings(document: Any, *keys: str, under: str = "") -> list[tuple[str, str]]:
    """Document path and value of each text in a list; `under` is the path of `document` itself."""
    value = at(document, *keys)
    path = ".".join([under, *keys] if under else keys)
    items = enumerate(value) if isinstance(value, list) else ()
    return [(f"{path}[{index}]", item) for index, item in items if isinstance(item, str)]


def repeated(values: Iterable[tuple[str, object]], what: str) -> Iterator[Problem]:
    """A problem for each (path, text) whose text stood before."""
    first: dict[str, str] = {}
    for path, value in values:
        if not isinstance(value, str):
            continue
        if value in first:
            yield Problem(path=path, code="duplicate", message=f"the same {what} as at {first[value]}")
        first.setdefault(value, path)


def invalid(path: str, message: str, hint: str = "") -> Problem:
    """A value that nothing could have."""
    return Problem(path=path, code="invalid_value", message=message, hint=hint)
