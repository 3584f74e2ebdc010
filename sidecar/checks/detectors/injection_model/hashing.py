"""The hashes of n-grams: polynomials modulo 2^64 over code points or over hashes, the same on every machine and in every run.

Part of the weights of the injection model: a change here needs a new training.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_Constant = NDArray[np.uint64]
"""An array of no dimension: numpy makes one of a number anew for each step."""

BASE: Final[_Constant] = np.array(0x9E3779B97F4A7C15, np.uint64)
INVERSE: Final[_Constant] = np.array(pow(int(BASE), -1, 1 << 64), np.uint64)
SIZES: Final[tuple[_Constant, ...]] = tuple(np.array(size, np.uint64) for size in range(8))
"""What is added to an n-gram of so many parts."""
_MIX_1 = np.array(0xFF51AFD7ED558CCD, np.uint64)
_MIX_2 = np.array(0xC4CEB9FE1A85EC53, np.uint64)
_HALF = np.array(33, np.uint64)


def powers(base: _Constant, count: int) -> Hashes:
    """The first `count` powers of it, from the first on."""
    made: Hashes = np.full(count, base, np.uint64)
    np.cumprod(made, out=made)
    return made


def mix(hashes: Hashes, spare: Hashes) -> None:
    """In place; `spare` is memory of the same shape. The first 31 bits of each are mixed then, and no more are used."""
    for factor in (_MIX_1, _MIX_2):
        np.right_shift(hashes, _HALF, out=spare)
        hashes ^= spare
        hashes *= factor


def word_hash(word: str) -> int:
    """The hash that a word of a text gets."""
    total, power = 0, 1
    for char in word:
        total += (ord(char) + 1) * power
        power = power * int(BASE) & 0xFFFFFFFFFFFFFFFF
    return total & 0xFFFFFFFFFFFFFFFF
