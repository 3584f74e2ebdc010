"""Decision ids: 128 random bits in hex without meaning, drawn from the system in blocks."""

from __future__ import annotations

import os

_BYTES = 16
_BLOCK = 256


class DecisionIds:
    """Each call gives an id that was never given before. One thread."""

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def __call__(self) -> str:
        if not self._drawn:
            self._drawn = os.urandom(_BYTES * _BLOCK).hex(" ", _BYTES).split(" ")
        return self._drawn.pop()
