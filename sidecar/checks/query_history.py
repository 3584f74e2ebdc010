"""What every caller asked lately: how many queries, and about how many different ones, in bounded memory.

Pure but for its clock. A window is SLICES slices, of which the oldest falls away as a whole. Different queries are
counted by HyperLogLog (Flajolet and others, 2007) with 256 registers, whose standard error is 6.5 %; few ones by linear
counting, nearly exactly. Nothing of a query is kept but that it set a register.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

MOST_CALLERS: Final = 4_096
"""Of one worker; whoever was silent for longest is forgotten first. 12 MB when all slices of all are full."""
SLICES: Final = 8
_REGISTERS: Final = 256
_ALPHA: Final = 0.7213 / (1 + 1.079 / _REGISTERS)


@dataclass(slots=True)
class _Slice:
    number: int
    queries: int = 0
    registers: bytearray = field(default_factory=lambda: bytearray(_REGISTERS))


@dataclass(frozen=True, slots=True)
class Asked:
    """Of one caller within the window."""

    queries: int
    _slices: tuple[_Slice, ...] = field(repr=False)

    def different(self) -> float:
        """How many of them were not the same: an estimate, made when it is asked for."""
        columns = zip(*(one.registers for one in self._slices), strict=True)
        return _estimate([max(column) for column in columns])


@dataclass(slots=True)
class QueryHistory:
    """Of all callers of one worker, which gets about `share` of their requests. `clock`: monotonic seconds."""

    clock: Callable[[], float]
    share: float = 1.0
    most: int = MOST_CALLERS
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    """So that nobody can choose queries, or a name, that look alike here."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Large bodies are judged in threads."""
    _callers: OrderedDict[tuple[bytes, float], deque[_Slice]] = field(default_factory=OrderedDict, repr=False)

    def ask(self, caller: str, window: float, queries: Iterable[bytes]) -> Asked:
        """Count these; what the caller has asked within `window` seconds, these included. From any thread."""
        digests = [hashlib.blake2b(query, digest_size=8, key=self._key).digest() for query in queries]
        # A token may name its subject in 6 KB.
        who = hashlib.blake2b(caller.encode(), digest_size=16, key=self._key).digest()
        with self._lock:
            return self._count(who, window, digests)

    def _count(self, caller: bytes, window: float, digests: list[bytes]) -> Asked:
        slices = self._callers.setdefault((caller, window), deque())
        self._callers.move_to_end((caller, window))
        while len(self._callers) > self.most:
            self._callers.popitem(last=False)
        number = int(self.clock() * SLICES / window)
        while slices and slices[0].number <= number - SLICES:
            slices.popleft()
        if not slices or slices[-1].number != number:
            slices.append(_Slice(number))
        newest = slices[-1]
        newest.queries += len(digests)
        for digest in digests:
            rank = 57 - int.from_bytes(digest[1:]).bit_length()
            newest.registers[digest[0]] = max(newest.registers[digest[0]], rank)
        return Asked(sum(one.queries for one in slices), tuple(slices))


def _estimate(registers: list[int]) -> float:
    raw = _ALPHA * _REGISTERS**2 / sum(2.0**-rank for rank in registers)
    empty = registers.count(0)
    if raw <= 2.5 * _REGISTERS and empty:
        return _REGISTERS * math.log(_REGISTERS / empty)
    return raw
