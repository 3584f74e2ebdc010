"""What is made of a caller again and again, kept by what it is made of; of callers with long names nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

from sidecar.model.request import Identity

V = TypeVar("V")
Ts = TypeVarTuple("Ts")


class Kept(dict[tuple[Identity | None, *Ts], V]):
    """Ask by `[]`, with the caller first; what is not there is made. At most `most` are kept, then it begins anew."""

    def __init__(self, make: Callable[[Identity | None, *Ts], V], most: int) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: tuple[Any, ...]) -> V:
        made = self._make(*key)
        if key[0] is None or key[0].brief:
            if len(self) >= self._most:
                self.clear()
            self[key] = made
        return made
