"""Hashed n-grams of a folded text: of words, of letters inside words, of word classes; every step is one pass of numpy.

Hashes are polynomials modulo 2^64 over code points: the same on every machine and in every run. Training and scoring
share this module, so what it does is part of the weights: a change here needs a new training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidecar.checks.detectors.injection_model import concepts

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Keys = NDArray[np.uint32] | NDArray[np.uint64]
"""32 bits where that is enough: they sort three times as fast."""

BITS: Final[tuple[int, ...]] = (18, 18, 14)
"""Buckets of each kind of n-gram as powers of two: words, letters, word classes."""
_WORD_GRAMS = 3
_LETTER_GRAMS = (3, 4, 5)
_REACH = 8
"""Word classes further apart than this many words are not seen together."""
_STEPS: Final[tuple[tuple[int, ...], ...]] = ((1,), (2,), (3,), (1, 2), (1, 3), (2, 3))
"""Which of the next word classes stand beside the first in a gram."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(33)
_SPACE, _SIGN, _LETTER, _APOSTROPHE = range(4)


def _classes() -> NDArray[np.int8]:
    """What each of the first 256 code points is; those above are letters."""
    table = np.full(256, _LETTER, dtype=np.int8)
    for point in range(256):
        char = chr(point)
        if char.isspace():
            table[point] = _SPACE
        elif not char.isalnum() and char != "_":
            table[point] = _SIGN
    table[ord("'")] = _APOSTROPHE
    return table


_CLASSES = _classes()


@dataclass(frozen=True, slots=True)
class Grams:
    """For each kind the distinct (block, bucket) pairs of a text as block << bits | bucket, in order."""

    kinds: tuple[Keys, ...]
    blocks: int


def grams(text: str, block: int) -> Grams:
    """The n-grams of a folded text, parted into blocks of `block` characters by where each begins."""
    points = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    classes = _classify(points)
    starts, ends = _tokens(classes)
    codes = points.astype(np.uint64)
    tokens = _Tokens(codes, starts, ends)
    found = (
        _word_grams(tokens),
        _letter_grams(codes, classes == _SPACE),
        _concept_grams(tokens),
    )
    return Grams(
        tuple(
            _distinct(hashes, places // block, bits)
            for (hashes, places), bits in zip(found, BITS, strict=True)
        ),
        max(1, -(-len(points) // block)),
    )


class _Tokens:
    """Words and single signs of a text with their hashes; a prefix sum gives the hash of any stretch."""

    def __init__(self, codes: Hashes, starts: Places, ends: Places) -> None:
        powers = np.cumprod(np.full(len(codes), _BASE))
        self._back = np.cumprod(np.full(len(codes) + 1, _INVERSE))
        self._sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum((codes + np.uint64(1)) * powers)])
        self.starts, self.lengths = starts, ends - starts
        self.hashes = (self._sums[ends] - self._sums[starts]) * self._back[starts]

    def prefix(self, which: Places, length: int) -> Hashes:
        """Hash of the first `length` code points of these tokens."""
        starts = self.starts[which]
        stretch: Hashes = (self._sums[starts + length] - self._sums[starts]) * self._back[starts]
        return stretch


def _classify(points: NDArray[np.uint32]) -> NDArray[np.int8]:
    classes = _CLASSES[np.minimum(points, 255)]
    classes[points > 255] = _LETTER
    classes[points == 0x2019] = _APOSTROPHE
    quotes = np.flatnonzero(classes == _APOSTROPHE)
    inside = (classes[quotes - 1] == _LETTER) & (classes[quotes + 1] == _LETTER)
    classes[quotes] = np.where(inside, _LETTER, _SIGN)
    return classes


def _tokens(classes: NDArray[np.int8]) -> tuple[Places, Places]:
    """Where words and signs start and end."""
    before = classes[:-1]
    after = classes[1:]
    edges = (before != after) | (after == _SIGN)
    cuts = np.flatnonzero(edges) + 1
    starts = cuts[classes[cuts] != _SPACE]
    kept = np.append(cuts, len(classes))
    ends = kept[1:][classes[cuts] != _SPACE]
    return starts, ends


def _word_grams(tokens: _Tokens) -> tuple[Hashes, Places]:
    hashes = [_mix(tokens.hashes + np.uint64(1))]
    gram = tokens.hashes
    for size in range(2, _WORD_GRAMS + 1):
        gram = gram[:-1] * _BASE + tokens.hashes[size - 1 :]
        hashes.append(_mix(gram + np.uint64(size)))
    return np.concatenate(hashes), np.concatenate([tokens.starts[: len(gram)] for gram in hashes])


def _letter_grams(codes: Hashes, spaces: NDArray[np.bool_]) -> tuple[Hashes, Places]:
    """N-grams with white space at their ends only."""
    hashes: list[Hashes] = []
    places: list[Places] = []
    gram = codes
    inner = np.zeros(len(codes), dtype=np.bool_)
    for size in range(2, _LETTER_GRAMS[-1] + 1):
        count = len(codes) - size + 1
        if count < 1:
            break
        gram = gram[:count] * _BASE + codes[size - 1 :]
        if size > 2:
            inner = inner[:count] | spaces[size - 2 : size - 2 + count]
        if size in _LETTER_GRAMS:
            whole = np.flatnonzero(~inner)
            hashes.append(_mix(gram[whole] + np.uint64(size)))
            places.append(whole)
        inner = inner[:count]
    return (np.concatenate(hashes), np.concatenate(places)) if hashes else (_NONE, _NOWHERE)


def _concept_grams(tokens: _Tokens) -> tuple[Hashes, Places]:
    """Single classes, pairs up to three classes apart, triples also with one left out."""
    order = _concepts(tokens)
    at = np.flatnonzero(order)
    seen = order[at]
    if not len(at):
        return _NONE, _NOWHERE
    hashes, first = [_mix(seen + np.uint64(1))], [at]
    for steps in _STEPS:
        count = len(at) - steps[-1]
        if count < 1:
            continue
        gram = seen[:count]
        for step in steps:
            gram = gram * _BASE + seen[step : step + count]
        near = (at[steps[-1] :] - at[:count]) <= _REACH
        hashes.append(_mix(gram[near] + np.uint64(1 + len(steps))))
        first.append(at[:count][near])
    return np.concatenate(hashes), tokens.starts[np.concatenate(first)]


def _concepts(tokens: _Tokens) -> Hashes:
    """The class of each token, 0 for none: whole words first, then stems from the longest."""
    found = _look_up(tokens.hashes, _WORD_TABLE)
    for length, table in _STEM_TABLES:
        free = np.flatnonzero((found == 0) & (tokens.lengths >= length))
        found[free] = _look_up(tokens.prefix(free, length), table)
    return found


def _look_up(hashes: Hashes, table: tuple[Hashes, Hashes]) -> Hashes:
    keys, values = table
    place = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
    found: Hashes = np.where(keys[place] == hashes, values[place], np.uint64(0))
    return found


def _distinct(hashes: Hashes, blocks: Places, bits: int) -> Keys:
    keys = hashes >> np.uint64(64 - bits) | blocks.astype(np.uint64) << np.uint64(bits)
    narrow = keys.astype(np.uint32) if not len(blocks) or blocks.max() >> (32 - bits) == 0 else keys
    ordered = np.sort(narrow)
    first = np.concatenate([np.ones(min(1, len(ordered)), np.bool_), ordered[1:] != ordered[:-1]])
    distinct: Keys = ordered[first]
    return distinct


def _mix(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> _HALF)) * _MIX_1
    hashes = (hashes ^ (hashes >> _HALF)) * _MIX_2
    return hashes ^ (hashes >> _HALF)


def _hash(word: str) -> int:
    """The hash that _Tokens gives a word."""
    total, power = 0, 1
    for char in word:
        total += (ord(char) + 1) * power
        power = power * int(_BASE) & 0xFFFFFFFFFFFFFFFF
    return total & 0xFFFFFFFFFFFFFFFF


def _lookup_table(words: dict[str, int]) -> tuple[Hashes, Hashes]:
    pairs = sorted((_hash(word), number) for word, number in words.items())
    return np.array([key for key, _ in pairs], np.uint64), np.array([value for _, value in pairs], np.uint64)


_NONE: Hashes = np.zeros(0, np.uint64)
_NOWHERE: Places = np.zeros(0, np.int64)
_WORD_TABLE = _lookup_table(concepts.WORDS)
_STEM_TABLES = tuple(
    (length, _lookup_table({stem: number for stem, number in concepts.STEMS.items() if len(stem) == length}))
    for length in concepts.LENGTHS
)
