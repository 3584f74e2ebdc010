"""Which call of a tool a streamed piece belongs to: some model servers give one index to several calls.

Used by openai_stream.py. Clients part such calls by their ids, or join all that has one index. So a piece begins a new
call only where joining it could hide nothing in arguments: those before it are a whole object, or there are none.
"""

from __future__ import annotations

import json
from typing import Any, Final

MAX_WHOLE: Final = 16_384
"""Characters of arguments that are kept for this; a call with more has its index for itself."""


class _Call:
    """The last one at its index."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.identifier = ""
        self.named = False
        self._arguments: list[str] = []
        self._size = 0

    def take(self, identifier: str, piece: dict[str, Any]) -> None:
        self.identifier = identifier or self.identifier
        self.named = self.named or _named(piece)
        for kind, key in (("function", "arguments"), ("custom", "input")):
            said = piece[kind].get(key) if isinstance(piece.get(kind), dict) else None
            if said and isinstance(said, str):
                self._size += len(said) if kind == "function" else MAX_WHOLE + 1  # free text has no end
                self._arguments.append(said)
        if self._size > MAX_WHOLE:
            self._arguments.clear()

    def ends_before(self, identifier: str) -> bool:
        """Whether a name that comes with this id is another call's."""
        if not self.named or (identifier and identifier == self.identifier):
            return False
        return _is_object("".join(self._arguments)) if self._size else bool(identifier)


class StreamedCalls:
    """All calls of one answer."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}

    def place(self, index: str, piece: dict[str, Any]) -> tuple[str, str]:
        """Where the call stands that this piece is of, and where the one stands that ends before it, or "".

        `index` is the place that the protocol's own index names.
        """
        given = piece.get("id")
        identifier = given if isinstance(given, str) else ""
        call = self._calls.setdefault(index, _Call(1))
        ended = ""
        if _named(piece) and call.ends_before(identifier):
            ended = _place(index, call)
            call = self._calls[index] = _Call(call.number + 1)
        call.take(identifier, piece)
        return _place(index, call), ended


def _place(index: str, call: _Call) -> str:
    return index if call.number == 1 else f"{index}'{call.number}"


def _named(piece: dict[str, Any]) -> bool:
    called = [piece[kind] for kind in ("function", "custom") if isinstance(piece.get(kind), dict)]
    return any(one.get("name") for one in called)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
