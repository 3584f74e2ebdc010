"""Decision ids: 128 random bits in hex without meaning, drawn from the system in blocks."""

from __future__ import annotations

import os

_BYTES = 16
_BLOCK = 256


class DecisionIds:
    """Each call gives an id that was never given before. One thread. No generator: one that failed once, as without
    memory, has ended, and would refuse every check from then on.
    """

    __slots__ = ("_drawn",)

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def __call__(self) -> str:
        drawn = self._drawn
        if not drawn:
            drawn = self._drawn = os.urandom(_BYTES * _BLOCK).hex(" ", _BYTES).split(" ")
        return drawn.pop()
