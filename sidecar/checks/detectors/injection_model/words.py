"""The words and single signs of a folded text, the word classes among them, and the n-grams of both.

Part of the weights of the injection model, as features.py is, which adds the n-grams of letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidecar.checks.detectors.injection_model import concepts
from sidecar.checks.detectors.injection_model.hashing import BASE, INVERSE, SIZES, Hashes, powers, word_hash

Places = NDArray[np.int64]
Grams = tuple[Sequence[Hashes], Sequence[Places]]
"""Hashes of n-grams that are not mixed yet, and where in the stretch each begins."""

SPACE, SIGN, LETTER, APOSTROPHE = range(4)
"""What a code point is."""
_WORD_GRAMS = 3
_REACH = 8
"""Word classes further apart than this many words are not seen together."""
_AFTER: Places = np.array([[1], [2], [3]])
"""Each of the next word classes makes a pair with the first one ..."""
_SECOND, _THIRD = np.array([0, 0, 1]), np.array([1, 2, 2])
"""... and a triple with these two of them."""
_PIECE: Final = 8_000
_FORTH, _BACK = powers(BASE, 1 << 14), powers(INVERSE, 1 << 14)
"""As many as a piece needs nearly always."""
_FAR: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Tokens:
    """Words and single signs of a text: where each begins and its hash; which have a word class, where, and which."""

    starts: Places
    hashes: Hashes
    known: Places
    places: Places
    classes: Hashes

    def word_grams(self, start: int, end: int) -> Grams:
        first, last = self.starts.searchsorted((start, end))
        hashes = self.hashes[first : last + _WORD_GRAMS - 1]
        places = self.starts[first:last] - start
        gram = hashes
        grams = [gram[: last - first] + SIZES[1]]
        for size in range(2, _WORD_GRAMS + 1):
            gram = gram[:-1] * BASE
            gram += hashes[size - 1 :]
            grams.append(gram[: last - first] + SIZES[size])
        return grams, [places[: len(gram)] for gram in grams]

    def concept_grams(self, start: int, end: int) -> Grams:
        """Single classes, pairs up to three classes apart, triples also with one left out."""
        first, last = self.places.searchsorted((start, end))
        at, seen = self.known[first:last], self.classes[first:last]
        if first == last:
            return [], []
        beside = np.arange(first, last) + _AFTER
        near = self.known[beside] - at <= _REACH
        others = self.classes[beside]
        pairs = seen * BASE + others
        triples = pairs[_SECOND] * BASE + others[_THIRD]
        far = near[_THIRD]
        places = self.places[first:last] - start
        grams = [seen + SIZES[1], pairs[near] + SIZES[2], triples[far] + SIZES[3]]
        return grams, [places, places[near.nonzero()[1]], places[far.nonzero()[1]]]


def tokens(text: str, points: NDArray[Any], classes: NDArray[np.uint8]) -> Tokens:
    """Read in pieces that end and begin with the same blank, so that no word is cut."""
    found: list[tuple[Places, Hashes, Places, Places, Hashes]] = []
    begin = count = 0
    while begin < len(text) - 1:
        end = text.find(" ", begin + _PIECE) + 1 or len(text)
        piece = _Piece(points[begin:end], classes[begin:end])
        known, numbers = piece.concepts()
        starts = piece.starts + begin
        found.append((starts, piece.hashes, known + count, starts[known], numbers))
        begin, count = end - 1, count + len(starts)
    found.append(_BEHIND)
    return Tokens(*map(np.concatenate, zip(*found, strict=True)))


_BEHIND = (
    np.zeros(0, np.int64),
    np.zeros(0, np.uint64),
    np.full(len(_AFTER), _FAR),
    np.zeros(0, np.int64),
    np.zeros(len(_AFTER), np.uint64),
)
"""Word classes so far behind a text that none is near them, so that one may look beyond the last."""


class _Piece:
    """The words and signs of a piece of text; a prefix sum gives the hash of any stretch."""

    def __init__(self, points: NDArray[Any], classes: NDArray[np.uint8]) -> None:
        before, after = classes[:-1], classes[1:]
        cuts = ((before != after) | (after == SIGN)).nonzero()[0] + 1
        (visible,) = (classes.take(cuts) != SPACE).nonzero()
        self.starts, self._ends = cuts.take(visible), cuts.take(visible + 1)
        count = len(points)
        forth, back = _FORTH[:count], _BACK
        if count > len(_FORTH):
            forth, back = powers(BASE, count), powers(INVERSE, count)
        self._sums: Hashes = np.zeros(count + 1, np.uint64)
        np.cumsum((points + SIZES[1]) * forth, out=self._sums[1:])
        self._before, self._back = self._sums.take(self.starts), back.take(self.starts)
        self.hashes: Hashes = (self._sums.take(self._ends) - self._before) * self._back

    def concepts(self) -> tuple[Places, Hashes]:
        """Which tokens have a class, and which: that of the whole word, or else of its longest stem."""
        numbers = np.zeros(len(self.starts), np.uint64)
        beginnings = self._prefixes(slice(None), self.starts + _SHORTEST)
        (some,) = _MAY_BEGIN[beginnings >> _SIEVE].nonzero()
        rows = _BEGINNINGS.searchsorted(beginnings.take(some))
        ends = _STEM_LENGTHS.take(rows, axis=1)
        ends += self.starts.take(some)
        fits = self._prefixes(some, ends) == _STEMS.take(rows, axis=1)
        fits &= ends <= self._ends.take(some)
        sizes, columns = fits.nonzero()
        numbers[some[columns]] = _STEM_NUMBERS[sizes, rows[columns]]  # the longest last
        (some,) = _MAY_BE_WORD[self.hashes >> _SIEVE].nonzero()
        rows = _WORDS.searchsorted(self.hashes[some])
        known = _WORDS[rows] == self.hashes[some]
        numbers[some[known]] = _WORD_NUMBERS[rows[known]]
        (which,) = numbers.nonzero()
        return which, numbers[which]

    def _prefixes(self, which: slice | Places, ends: Places) -> Hashes:
        """Of these tokens the hashes of what stands before these ends."""
        sums: Hashes = self._sums.take(ends, mode="clip") - self._before[which]
        sums *= self._back[which]
        return sums


_SIEVE = np.uint64(64 - 16)
_SHORTEST: Final = concepts.LENGTHS[-1]


def _words() -> tuple[Hashes, Hashes]:
    """Hashes of the words that have a class, in order, and the classes. The last is a word that no text holds."""
    pairs = sorted((word_hash(word), number) for word, number in concepts.WORDS.items())
    pairs.append(((1 << 64) - 1, 0))
    return np.array([key for key, _ in pairs], np.uint64), np.array([value for _, value in pairs], np.uint64)


def _stems() -> tuple[Hashes, Hashes, Places, Hashes]:
    """Hashes of how stems begin, in order; in a column below each the stems that begin so, the longest last: hash, length,
    class.
    """
    begun: dict[int, list[str]] = {(1 << 64) - 1: []}
    for stem in sorted(concepts.STEMS, key=len):
        begun.setdefault(word_hash(stem[:_SHORTEST]), []).append(stem)
    shape = max(map(len, begun.values())), len(begun)
    hashes, lengths, numbers = np.zeros(shape, np.uint64), np.full(shape, _FAR), np.zeros(shape, np.uint64)
    for column, beginning in enumerate(sorted(begun)):
        for row, stem in enumerate(begun[beginning]):
            hashes[row, column], lengths[row, column] = word_hash(stem), len(stem)
            numbers[row, column] = concepts.STEMS[stem]
    return np.array(sorted(begun), np.uint64), hashes, lengths, numbers


def _sieve(hashes: Hashes) -> NDArray[np.bool_]:
    """By the first bits of a hash whether it may be one of these: nearly all others fall through."""
    table = np.zeros(1 << 16, np.bool_)
    table[hashes >> _SIEVE] = True
    return table


_WORDS, _WORD_NUMBERS = _words()
_BEGINNINGS, _STEMS, _STEM_LENGTHS, _STEM_NUMBERS = _stems()
_MAY_BE_WORD, _MAY_BEGIN = _sieve(_WORDS), _sieve(_BEGINNINGS)
