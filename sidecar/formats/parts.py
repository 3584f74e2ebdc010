"""Which texts of a body are parts of one: engines put the parts of a message's content together before the model reads,
clients the messages of a response.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

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


def mark_messages(texts: list[TextAt], output: Sequence[Any]) -> None:
    """Of the texts of a response those of its messages, where it has several: clients put them together to one."""
    messages = {
        number
        for number, item in enumerate(output)
        if isinstance(item, dict) and (item.get("type") == "message" or not isinstance(item.get("type"), str))
    }
    if len(messages) > 1:
        for number, at in enumerate(texts):
            match at.path:
                case ("output", int(item), "content", int(), "text") if item in messages:
                    texts[number] = msgspec.structs.replace(at, joins="output")
                case _:
                    pass
