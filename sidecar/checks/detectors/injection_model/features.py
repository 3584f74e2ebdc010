"""Hashed n-grams of a folded text: of words, of letters inside words, of word classes; every step is one pass of numpy.

Training and scoring share this module, so what it does is part of the weights: a change here needs a new training.
For short texts the number of steps is what costs, so they are few. A long text is read stretch by stretch: what numpy
makes of one stays in the processor's cache, and in memory that the worker holds anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidecar.checks.detectors.injection_model.hashing import BASE, SIZES, Hashes, mix
from sidecar.checks.detectors.injection_model.words import (
    APOSTROPHE,
    BEHIND,
    CONCEPT_GRAMS,
    LETTER,
    SIGN,
    SPACE,
    WORD_GRAMS,
    Places,
    Tokens,
    tokens,
)

Keys = NDArray[np.uint32]

BITS: Final[tuple[int, ...]] = (18, 18, 14)
"""Buckets of each kind of n-gram as powers of two: words, letters, word classes."""
WIDTH: Final = max(BITS)
_STRETCH: Final = 6_000
"""Characters of a long text that are read together, in whole blocks: arrays that glibc takes from its heap, and does not
get from the kernel each time (sidecar/allocator.py).
"""
_LETTER_GRAMS = (3, 4, 5)
_BEYOND: Final = " " * (_LETTER_GRAMS[-1] - 1)
"""Set behind a text, so that one may look beyond each place; no n-gram of letters holds two blanks, so it makes none."""
_QUOTE = 0x2019
_TO_BUCKET = np.array(64 - WIDTH, np.uint64)
_TO_CLASSES = np.array(WIDTH - BITS[2], np.uint64)
_OF_LETTERS, _OF_CLASSES = np.array(1 << WIDTH, np.uint32), np.array(2 << WIDTH, np.uint32)


def _classes() -> bytes:
    """What each code point below 256 is; all above are letters but the typographic apostrophe."""
    table = bytearray([LETTER] * 256)
    for char in map(chr, range(256)):
        if char.isspace():
            table[ord(char)] = SPACE
        elif not char.isalnum() and char != "_":
            table[ord(char)] = SIGN
    table[ord("'")] = APOSTROPHE
    return bytes(table)


_CLASSES = _classes()


@dataclass(frozen=True, slots=True)
class Grams:
    """The distinct n-grams of some blocks of a text: those of words of each block, of letters of each, of word classes of
    each, in order; `starts` says where each begins, and where the last ends.
    """

    keys: Keys
    """kind << WIDTH | bucket."""
    starts: Places
    blocks: int

    def buckets(self, kind: int, block: int) -> Keys:
        """Of one kind in one block."""
        at = kind * self.blocks + block
        return self.keys[self.starts[at] : self.starts[at + 1]] & np.uint32((1 << WIDTH) - 1)


def grams(text: str, block: int) -> Iterator[Grams]:
    """The n-grams of a folded text, parted into blocks of `block` characters by where each begins; some blocks at a time."""
    length = len(text) + 2
    text = f" {text} {_BEYOND}{BEHIND}"
    points, classes = _read(text)
    words = tokens(text, points, classes)
    step, whole = max(1, _STRETCH // block) * block, length // block * block
    memory = _Memory()
    for start in range(0, whole, step):
        yield _stretch(memory, words, points, classes, range(start, min(start + step, whole) + 1, block))
    if whole < length:
        yield _stretch(memory, words, points, classes, (whole, length))


class _Memory:
    """Used again for one stretch after the other. Each has room for all n-grams, those too that are none after all."""

    def __init__(self) -> None:
        self.made: Hashes = np.empty(0, np.uint64)
        self.kept: Hashes = self.made
        self.whole: NDArray[np.bool_] = np.empty(0, np.bool_)

    def fit(self, size: int) -> None:
        if size > len(self.made):
            size += size // 4
            self.made, self.kept = np.empty(size, np.uint64), np.empty(size, np.uint64)
            self.whole = np.empty(size, np.bool_)


def _stretch(
    memory: _Memory,
    words: Tokens,
    points: NDArray[Any],
    classes: NDArray[np.uint8],
    edges: Sequence[int],
) -> Grams:
    """Of the blocks between these edges. As many n-grams are made of each word, place and class as could begin there, in
    memory laid out for that, and those that are none are left out in one step: fewer steps than one for each size.
    """
    start, end, blocks = edges[0], edges[-1], len(edges) - 1
    at_words, at_classes = words.at(edges)
    marks = [WORD_GRAMS * (at - at_words[0]) for at in at_words[:-1]]
    of_letters = WORD_GRAMS * (at_words[-1] - at_words[0])
    of_classes = of_letters + len(_LETTER_GRAMS) * (end - start)
    marks += range(of_letters, of_classes, (of_classes - of_letters) // blocks)
    marks += [of_classes + CONCEPT_GRAMS * (at - at_classes[0]) for at in at_classes]
    memory.fit(marks[-1])
    made, whole = memory.made[: marks[-1]], memory.whole[: marks[-1]]
    words.word_grams(at_words[0], at_words[-1], made[:of_letters], whole[:of_letters])
    letters = slice(of_letters, of_classes)
    reach = slice(start, end + len(_BEYOND))
    _letter_grams(points[reach], classes[reach], blocks, made[letters], whole[letters])
    if at_classes[0] < at_classes[-1]:
        words.concept_grams(at_classes[0], at_classes[-1], made[of_classes:], whole[of_classes:])
    (places,) = whole.nonzero()
    starts = places.searchsorted(marks)
    kept = memory.kept[: len(places)]
    made.take(places, out=kept, mode="clip")
    mix(kept, made[: len(places)])
    kept >>= _TO_BUCKET
    kept[starts[2 * blocks] :] >>= _TO_CLASSES
    return _distinct(kept.astype(np.uint32), starts, blocks)


def _letter_grams(
    points: NDArray[Any], classes: NDArray[np.uint8], blocks: int, made: Hashes, whole: NDArray[np.bool_]
) -> None:
    """For each block one row for each size: n-grams that begin at each place. They have white space at their ends only."""
    count = len(points) - len(_BEYOND)
    row = blocks, count // blocks
    shape = blocks, len(_LETTER_GRAMS), count // blocks
    made, whole = made.reshape(shape), whole.reshape(shape)
    codes, visible = points.astype(np.uint64), classes != SPACE
    gram = codes[:count] * BASE
    gram += codes[1 : 1 + count]
    inner = visible[1 : 1 + count]
    for number, size in enumerate(_LETTER_GRAMS):
        gram *= BASE
        gram += codes[size - 1 : size - 1 + count]
        np.add(gram.reshape(row), SIZES[size], made[:, number])
        if number:
            inner = inner & visible[size - 2 : size - 2 + count]
        whole[:, number] = inner.reshape(row)


def _distinct(keys: Keys, starts: Places, blocks: int) -> Grams:
    """Of these buckets, which kind after kind and block after block begin at `starts`, each once."""
    keys[starts[blocks] : starts[2 * blocks]] |= _OF_LETTERS
    keys[starts[2 * blocks] :] |= _OF_CLASSES
    for start, end in pairwise(starts.tolist()):
        keys[start:end].sort()
    first = np.empty(len(keys) + 1, np.bool_)
    np.not_equal(keys[1:], keys[:-1], first[1:-1])
    first[starts] = True
    (places,) = first[:-1].nonzero()
    return Grams(keys.take(places), places.searchsorted(starts), blocks)


def _read(text: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The code points of a text with a blank at either end, and what each is."""
    if text.isascii():
        points: NDArray[Any] = np.frombuffer(text.encode(), np.uint8)
        latin = points
    else:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        latin = np.empty(len(points), np.uint8)
        np.minimum(points, 255, out=latin, casting="unsafe")
    classes = np.frombuffer(bytearray(latin.tobytes().translate(_CLASSES)), np.uint8)
    if points is not latin:
        classes[points == _QUOTE] = APOSTROPHE
    (quotes,) = (classes == APOSTROPHE).nonzero()
    if len(quotes):
        inside = (classes[quotes - 1] == LETTER) & (classes[quotes + 1] == LETTER)
        classes[quotes] = np.where(inside, LETTER, SIGN)
    return points, classes
