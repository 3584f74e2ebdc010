"""Which texts of a body are parts of one: engines put the parts of a message's content together before the model reads."""

from __future__ import annotations

from collections.abc import Container

import msgspec

from sidecar.formats.documents import TextAt
from sidecar.formats.json_text import Path, location


def mark_parts(texts: list[TextAt], start: int, path: Path, keys: Container[str]) -> None:
    """Of the texts from `start`, those that are an element of the list at `path` or a member of one that `keys` names."""
    found = [
        number
        for number in range(start, len(texts))
        if len(steps := texts[number].path[len(path) :]) == 1 or (len(steps) == 2 and steps[1] in keys)
    ]
    if len(found) > 1:
        name = location(path)
        for number in found:
            texts[number] = msgspec.structs.replace(texts[number], joins=name)
