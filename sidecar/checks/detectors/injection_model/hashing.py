"""The hashes of n-grams: polynomials modulo 2^64 over code points or over hashes, the same on every machine and in every run.

Part of the weights of the injection model: a change here needs a new training.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

BASE: Final = np.uint64(0x9E3779B97F4A7C15)
INVERSE: Final = np.uint64(pow(int(BASE), -1, 1 << 64))
SIZES: Final = tuple(map(np.uint64, range(8)))
"""What is added to an n-gram of so many parts."""
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(33)


def powers(base: np.uint64, count: int) -> Hashes:
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
