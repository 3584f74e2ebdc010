"""Hashed n-grams of a folded text: of words, of letters inside words, of word classes; every step is one pass of numpy.

Hashes are polynomials modulo 2^64 over code points: the same on every machine and in every run. Training and scoring
share this module, so what it does is part of the weights: a change here needs a new training. For short texts the
number of steps is what costs, so all kinds of n-grams are mixed, sorted and counted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidecar.checks.detectors.injection_model import concepts

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Keys = NDArray[np.uint32] | NDArray[np.uint64]
"""32 bits where that is enough: they sort three times as fast."""

BITS: Final[tuple[int, ...]] = (18, 18, 14)
"""Buckets of each kind of n-gram as powers of two: words, letters, word classes."""
WIDTH: Final = max(BITS)
KIND_BITS: Final = 2
"""A key is block, kind and bucket, in 32 or 64 bits: the last WIDTH are the bucket's, KIND_BITS before them the kind's."""
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
_SIZES = tuple(map(np.uint64, range(8)))
_SPACE, _SIGN, _LETTER, _APOSTROPHE = range(4)
_QUOTE = 0x2019
_LAST = _QUOTE + 1
"""This code point and those above are letters."""


def _classes() -> NDArray[np.int8]:
    """What each code point up to _LAST is; from 256 on all are letters but the typographic apostrophe."""
    table = np.full(_LAST + 1, _LETTER, dtype=np.int8)
    for point in range(256):
        char = chr(point)
        if char.isspace():
            table[point] = _SPACE
        elif not char.isalnum() and char != "_":
            table[point] = _SIGN
    table[[ord("'"), _QUOTE]] = _APOSTROPHE
    return table


_CLASSES = _classes()


def _powers(base: np.uint64, count: int) -> Hashes:
    """The first `count` powers of it, from the first on."""
    powers: Hashes = np.full(count, base, np.uint64)
    np.cumprod(powers, out=powers)
    return powers


_SHORT = 1 << 12
_FORTH, _BACK = _powers(_BASE, _SHORT), _powers(_INVERSE, _SHORT)


@dataclass(frozen=True, slots=True)
class Grams:
    """The distinct n-grams of a text by block: block << (WIDTH + KIND_BITS) | kind << WIDTH | bucket."""

    keys: Keys
    blocks: int

    @property
    def kinds(self) -> tuple[Keys, ...]:
        """The same apart by kind: block << bits | bucket."""
        kind = (self.keys >> WIDTH) & ((1 << KIND_BITS) - 1)
        block, bucket = self.keys >> (WIDTH + KIND_BITS), self.keys & ((1 << WIDTH) - 1)
        return tuple((block << bits | bucket)[kind == number] for number, bits in enumerate(BITS))


def grams(text: str, block: int) -> Grams:
    """The n-grams of a folded text, parted into blocks of `block` characters by where each begins."""
    points = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    classes = _classify(points)
    starts, ends = _tokens(classes)
    codes = points.astype(np.uint64)
    tokens = _Tokens(codes, starts, ends)
    kinds = list(
        enumerate((_word_grams(tokens), _letter_grams(codes, classes == _SPACE), _concept_grams(tokens)))
    )
    blocks = max(1, -(-len(points) // block))
    if blocks == 1:
        return Grams(_keys(kinds, block, blocks), blocks)
    return Grams(np.concatenate([_keys([kind], block, blocks) for kind in kinds if kind[1]]), blocks)


def _keys(kinds: Sequence[tuple[int, _Family]], block: int, blocks: int) -> Keys:
    """The distinct keys of these kinds, in order. All together for a short text, where steps cost; one by one for a long
    one, whose arrays would not stay in the processor's cache.
    """
    grams_of = [gram for _, kind in kinds for gram, _ in kind]
    hashes = (
        _mix(np.concatenate(grams_of)) if blocks == 1 else np.concatenate([_mix(gram) for gram in grams_of])
    )
    at = 0
    for number, kind in kinds:
        end = at + sum(len(gram) for gram, _ in kind)
        hashes[at:end] >>= np.uint64(64 - BITS[number])
        hashes[at:end] |= np.uint64(number << WIDTH)
        at = end
    if blocks > 1:
        places = np.concatenate([places for _, kind in kinds for _, places in kind])
        hashes |= (places // block).astype(np.uint64) << np.uint64(WIDTH + KIND_BITS)
    return _distinct(hashes, blocks)


_Family = list[tuple[Hashes, Places]]
"""Hashes of n-grams that are not mixed yet, and where each begins."""


class _Tokens:
    """Words and single signs of a text with their hashes; a prefix sum gives the hash of any stretch."""

    def __init__(self, codes: Hashes, starts: Places, ends: Places) -> None:
        count = len(codes)
        short = count < _SHORT
        forth = _FORTH[:count] if short else _powers(_BASE, count)
        self._back = _BACK if short else _powers(_INVERSE, count + 1)
        self._sums: Hashes = np.zeros(count + 1, np.uint64)
        np.cumsum((codes + _SIZES[1]) * forth, out=self._sums[1:])
        self.starts, self.lengths = starts, ends - starts
        self.hashes: Hashes = (self._sums[ends] - self._sums[starts]) * self._back[starts]

    def prefixes(self, which: Places, lengths: Places) -> Hashes:
        """Of each of these tokens a row: the hash of its first code points, so many as `lengths` says; 0 where it is
        shorter.
        """
        starts = self.starts[which, None]
        ends = np.minimum(starts + lengths, len(self._sums) - 1)
        stretches = (self._sums[ends] - self._sums[starts]) * self._back[starts]
        found: Hashes = stretches * (self.lengths[which, None] >= lengths)
        return found


def _classify(points: NDArray[np.uint32]) -> NDArray[np.int8]:
    classes = _CLASSES[np.minimum(points, _LAST)]
    (quotes,) = (classes == _APOSTROPHE).nonzero()
    if len(quotes):
        inside = (classes[quotes - 1] == _LETTER) & (classes[quotes + 1] == _LETTER)
        classes[quotes] = np.where(inside, _LETTER, _SIGN)
    return classes


def _tokens(classes: NDArray[np.int8]) -> tuple[Places, Places]:
    """Where words and signs start and end."""
    before, after = classes[:-1], classes[1:]
    cuts = ((before != after) | (after == _SIGN)).nonzero()[0] + 1
    visible = classes[cuts] != _SPACE
    return cuts[visible], np.append(cuts[1:], len(classes))[visible]


def _word_grams(tokens: _Tokens) -> _Family:
    gram: Hashes = tokens.hashes
    out: _Family = [(gram + _SIZES[1], tokens.starts)]
    for size in range(2, _WORD_GRAMS + 1):
        gram = gram[:-1] * _BASE + tokens.hashes[size - 1 :]
        out.append((gram + _SIZES[size], tokens.starts[: len(gram)]))
    return out


def _letter_grams(codes: Hashes, spaces: NDArray[np.bool_]) -> _Family:
    """N-grams with white space at their ends only."""
    out: _Family = []
    gram: Hashes = codes
    inner = np.zeros(len(codes), dtype=np.bool_)
    for size in range(2, min(_LETTER_GRAMS[-1], len(codes)) + 1):
        count = len(codes) - size + 1
        gram = gram[:count] * _BASE + codes[size - 1 :]
        inner = inner[:count]
        if size > 2:
            inner = inner | spaces[size - 2 : size - 2 + count]
        if size in _LETTER_GRAMS:
            (whole,) = (~inner).nonzero()
            out.append((gram[whole] + _SIZES[size], whole))
    return out


def _concept_grams(tokens: _Tokens) -> _Family:
    """Single classes, pairs up to three classes apart, triples also with one left out."""
    at, seen = _concepts(tokens)
    out = [(seen + _SIZES[1], tokens.starts[at])]
    for steps in _STEPS:
        count = len(at) - steps[-1]
        if count < 1:
            continue
        (near,) = ((at[steps[-1] :] - at[:count]) <= _REACH).nonzero()
        gram = seen[near]
        for step in steps:
            gram = gram * _BASE + seen[near + step]
        out.append((gram + _SIZES[1 + len(steps)], tokens.starts[at[near]]))
    return out


def _concepts(tokens: _Tokens) -> tuple[Places, Hashes]:
    """Which tokens have a class, and which: that of the whole word, or else of its longest stem."""
    whole = tokens.hashes ^ _WHOLE
    (long,) = (tokens.lengths >= _SHORTEST_STEM[0]).nonzero()
    maybe = _MAY_BE_KNOWN[whole >> _SIEVE]
    maybe[long] |= _MAY_BEGIN[tokens.prefixes(long, _SHORTEST_STEM)[:, 0] >> _SIEVE]
    (some,) = maybe.nonzero()
    asked = np.concatenate([whole[some, None], tokens.prefixes(some, _STEM_LENGTHS)], axis=1)
    rows, columns = _MAY_BE_KNOWN[asked >> _SIEVE].nonzero()
    hashes = asked[rows, columns]
    place = np.minimum(_KNOWN.searchsorted(hashes), len(_KNOWN) - 1)
    known = _KNOWN[place] == hashes
    rows, numbers = some[rows[known]], _NUMBERS[place[known]]
    first = _changes(rows)
    return rows[first], numbers[first]


def _distinct(keys: Hashes, blocks: int) -> Keys:
    ordered: NDArray[Any] = keys.astype(np.uint32) if blocks >> (32 - WIDTH - KIND_BITS) == 0 else keys
    ordered.sort()
    distinct: Keys = ordered[_changes(ordered)]
    return distinct


def _changes(ordered: NDArray[Any]) -> NDArray[np.bool_]:
    """Where another value begins."""
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first


def _mix(hashes: Hashes) -> Hashes:
    hashes = hashes ^ (hashes >> _HALF)
    hashes *= _MIX_1
    hashes ^= hashes >> _HALF
    hashes *= _MIX_2
    hashes ^= hashes >> _HALF
    return hashes


def _hash(word: str) -> int:
    """The hash that _Tokens gives a word."""
    total, power = 0, 1
    for char in word:
        total += (ord(char) + 1) * power
        power = power * int(_BASE) & 0xFFFFFFFFFFFFFFFF
    return total & 0xFFFFFFFFFFFFFFFF


_WHOLE = np.uint64(0x5851F42D4C957F2D)
"""Tells the hash of a whole word from that of a stem."""
_SIEVE = np.uint64(64 - 14)
_STEM_LENGTHS: Places = np.array(concepts.LENGTHS, np.int64)
_SHORTEST_STEM = _STEM_LENGTHS[-1:]


def _known() -> tuple[Hashes, Hashes]:
    """Hashes of all words and stems that have a class, in order, and the classes."""
    pairs = [(_hash(word) ^ int(_WHOLE), number) for word, number in concepts.WORDS.items()]
    pairs += [(_hash(stem), number) for stem, number in concepts.STEMS.items()]
    pairs.sort()
    return np.array([key for key, _ in pairs], np.uint64), np.array([value for _, value in pairs], np.uint64)


_KNOWN, _NUMBERS = _known()


def _sieve(hashes: Hashes) -> NDArray[np.bool_]:
    """By the first bits of a hash whether it may be one of these: nearly all others fall through."""
    table = np.zeros(1 << 14, np.bool_)
    table[hashes >> _SIEVE] = True
    return table


_MAY_BE_KNOWN = _sieve(_KNOWN)
_MAY_BEGIN = _sieve(np.array([_hash(stem[: concepts.LENGTHS[-1]]) for stem in concepts.STEMS], np.uint64))
