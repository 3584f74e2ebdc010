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

SPACE, SIGN, LETTER, APOSTROPHE = (np.array(what, np.uint8) for what in range(4))
"""What a code point is."""
WORD_GRAMS: Final = 3
_REACH: Places = np.array(8)
"""Word classes further apart than this many words are not seen together."""
_NEXT: Final = 3
"""With so many that follow it a word class makes pairs, and triples with two of them."""
CONCEPT_GRAMS: Final = 1 + _NEXT + _NEXT * (_NEXT - 1) // 2
BEHIND: Final = "." * (int(_REACH) + 1) + "?" * _NEXT + " "
"""Set behind a text and some blanks, so that one may look beyond each of its words and word classes: signs, and so far
behind that none is near them as many that have a class.
"""
_SIGNS_BEHIND: Final = len(BEHIND) - 1
_PIECE: Final = 16_000
"""Characters of a long text that are read together: a 64-bit number for each is still taken from the heap."""
_FORTH, _BACK = powers(BASE, 1 << 14), powers(INVERSE, 1 << 14)
"""As many as a piece needs nearly always."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Words and single signs of a text: the place before each and its hash; which have a word class, and which one. The
    signs of BEHIND are the last.
    """

    before: Places
    hashes: Hashes
    known: Places
    classes: Hashes

    def at(self, edges: Sequence[int]) -> tuple[list[int], list[int]]:
        """The first token, and the first that has a class, from each of these places on."""
        tokens = self.before.searchsorted([edge - 1 for edge in edges])
        return tokens.tolist(), self.known.searchsorted(tokens).tolist()

    def word_grams(self, first: int, last: int, made: Hashes, whole: NDArray[np.bool_]) -> None:
        """For each token those that begin with it."""
        shape = last - first, WORD_GRAMS
        made, whole = made.reshape(shape), whole.reshape(shape)
        whole[:] = True
        gram = self.hashes[first:last]
        np.add(gram, SIZES[1], made[:, 0])
        for size in range(2, WORD_GRAMS + 1):
            gram = gram * BASE
            gram += self.hashes[first + size - 1 : last + size - 1]
            np.add(gram, SIZES[size], made[:, size - 1])
            whole[max(0, len(self.hashes) - _SIGNS_BEHIND - size + 1 - first) :, size - 1] = False

    def concept_grams(self, first: int, last: int, made: Hashes, whole: NDArray[np.bool_]) -> None:
        """For each class it alone, pairs up to three classes apart, triples also with one left out."""
        shape = last - first, CONCEPT_GRAMS
        made, whole = made.reshape(shape), whole.reshape(shape)
        known, seen = self.known[first:last], self.classes[first:last]
        np.add(seen, SIZES[1], made[:, 0])
        whole[:, 0] = True
        seen = seen * BASE
        begun, column = [seen + SIZES[2]], 1
        for after in range(1, _NEXT + 1):
            beside = slice(first + after, last + after)
            near, other = self.known[beside] - known <= _REACH, self.classes[beside]
            for gram in begun:
                np.add(gram, other, made[:, column])
                whole[:, column] = near
                column += 1
            begun.append((seen + other) * BASE + SIZES[3])


def tokens(text: str, points: NDArray[Any], classes: NDArray[np.uint8]) -> Tokens:
    """Read in pieces that end and begin with the same blank, so that no word is cut."""
    found: list[tuple[Places, Hashes, Places, Hashes]] = []
    begin = count = 0
    while begin < len(text) - 1:
        end = text.find(" ", begin + _PIECE) + 1 or len(text)
        piece = _Piece(points[begin:end], classes[begin:end])
        known, numbers = piece.concepts()
        if begin:
            known += count
            piece.before += begin
        found.append((piece.before, piece.hashes, known, numbers))
        begin, count = end - 1, count + len(piece.before)
    return Tokens(*(map(np.concatenate, zip(*found, strict=True)) if len(found) > 1 else found[0]))


class _Piece:
    """The words and signs of a piece of text; a prefix sum gives the hash of any stretch. It begins with a blank."""

    def __init__(self, points: NDArray[Any], classes: NDArray[np.uint8]) -> None:
        left, right = classes[:-1], classes[1:]
        cuts = left != right
        cuts |= right == SIGN
        (places,) = cuts.nonzero()
        (visible,) = (right.take(places) != SPACE).nonzero()
        self.before, self._last = places.take(visible), places[1:].take(visible)
        count = len(points)
        forth, back = _FORTH[:count], _BACK
        if count > len(_FORTH):
            forth, back = powers(BASE, count), powers(INVERSE, count)
        sums: Hashes = points + SIZES[1]
        sums *= forth
        np.add.accumulate(sums, out=sums)
        self._sums, self._skipped = sums, sums.take(self.before)
        self._back = back[1:].take(self.before)
        self.hashes: Hashes = sums.take(self._last)
        self.hashes -= self._skipped
        self.hashes *= self._back

    def concepts(self) -> tuple[Places, Hashes]:
        """Which tokens have a class, and which: that of the whole word, or else of its longest stem."""
        numbers = np.zeros(len(self.before), np.uint64)
        beginnings = self._sums[_SHORTEST:].take(self.before, mode="clip")
        beginnings -= self._skipped
        beginnings *= self._back
        rows = _STEM_ROWS.of(beginnings)
        (some,) = rows.nonzero()
        if len(some):
            rows = rows.take(some)
            ends = _STEM_LENGTHS.take(rows, axis=1)
            ends += self.before.take(some)
            hashes = self._sums.take(ends, mode="clip")
            hashes -= self._skipped.take(some)
            hashes *= self._back.take(some)
            fits = hashes == _STEMS.take(rows, axis=1)
            fits &= ends <= self._last.take(some)
            sizes, columns = fits.nonzero()
            numbers[some[columns]] = _STEM_NUMBERS[sizes, rows[columns]]  # the longest last
        rows = _WORD_ROWS.of(self.hashes)
        np.copyto(numbers, _WORD_NUMBERS.take(rows), where=_WORDS.take(rows) == self.hashes)
        (which,) = numbers.nonzero()
        return which, numbers.take(which)


_SHORTEST: Final = concepts.LENGTHS[-1]
_FAR: Final = 1 << 40
_NO_HASH: Final = (1 << 64) - 1
"""Of no text that there is."""


class _Rows:
    """In which row of a table a hash stands that is listed in it, by its first bits once multiplied. A row of others, too:
    it is to be compared. The first row is for none.
    """

    def __init__(self, hashes: Hashes) -> None:
        """Raises StopIteration if no factor tells them apart: one in thirty does."""
        self._factor = next(
            factor
            for factor in powers(BASE, 1_000)
            if len(set(self._slots(hashes, factor).tolist())) == len(hashes)
        )
        self._rows = np.zeros(1 << 16, np.uint16)
        self._rows[self._slots(hashes, self._factor)[1:]] = np.arange(1, len(hashes))

    def of(self, hashes: Hashes) -> Places:
        return self._rows.take(self._slots(hashes, self._factor)).astype(np.int64)

    @staticmethod
    def _slots(hashes: Hashes, factor: np.uint64) -> Places:
        slots = hashes * factor
        slots >>= _SLOT
        return slots.view(np.int64)


_SLOT = np.array(64 - 16, np.uint64)


def _words() -> tuple[Hashes, Hashes]:
    """Hashes of the words that have a class, and the classes, after a row for none."""
    pairs = [(_NO_HASH, 0), *((word_hash(word), number) for word, number in concepts.WORDS.items())]
    return np.array([key for key, _ in pairs], np.uint64), np.array([value for _, value in pairs], np.uint64)


def _stems() -> tuple[Hashes, Hashes, Places, Hashes]:
    """Hashes of how stems begin, after one of none; in a column below each the stems that begin so, the longest last: hash,
    length, class.
    """
    begun: dict[int, list[str]] = {_NO_HASH: []}
    for stem in sorted(concepts.STEMS, key=len):
        begun.setdefault(word_hash(stem[:_SHORTEST]), []).append(stem)
    shape = max(map(len, begun.values())), len(begun)
    hashes, lengths, numbers = np.zeros(shape, np.uint64), np.full(shape, _FAR), np.zeros(shape, np.uint64)
    for column, stems in enumerate(begun.values()):
        for row, stem in enumerate(stems):
            hashes[row, column], lengths[row, column] = word_hash(stem), len(stem)
            numbers[row, column] = concepts.STEMS[stem]
    return np.array(list(begun), np.uint64), hashes, lengths, numbers


_WORDS, _WORD_NUMBERS = _words()
_BEGINNINGS, _STEMS, _STEM_LENGTHS, _STEM_NUMBERS = _stems()
_WORD_ROWS, _STEM_ROWS = _Rows(_WORDS), _Rows(_BEGINNINGS)
