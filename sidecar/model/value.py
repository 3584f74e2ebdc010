"""The base of values that are made anew for each request: a frozen Struct costs a tenth of a frozen dataclass."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An immutable value without cycles, so that the garbage collector need not look at it.

    A subclass says `frozen=True, kw_only=True` again: msgspec does not inherit kw_only, type checkers not frozen.
    """

    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields that may hold what a client or the model said: never shown, whoever prints the value."""

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.hidden
        )
        return f"{type(self).__name__}({', '.join(shown)})"
