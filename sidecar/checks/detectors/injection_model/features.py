"""Hashed n-grams of a folded text: of words, of letters inside words, of word classes; every step is one pass of numpy.

Training and scoring share this module, so what it does is part of the weights: a change here needs a new training.
For short texts the number of steps is what costs, so they are few. A long text is read stretch by stretch: what numpy
makes of one stays in the processor's cache, and in memory that the worker holds anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidecar.checks.detectors.injection_model.hashing import BASE, SIZES, Hashes, mix
from sidecar.checks.detectors.injection_model.words import APOSTROPHE, LETTER, SIGN, SPACE, Tokens, tokens

Keys = NDArray[np.uint32]

BITS: Final[tuple[int, ...]] = (18, 18, 14)
"""Buckets of each kind of n-gram as powers of two: words, letters, word classes."""
WIDTH: Final = max(BITS)
KIND_BITS: Final = 2
"""A key is block, kind and bucket, in 32 bits: the last WIDTH are the bucket's, KIND_BITS before them the kind's."""
_MOST_BLOCKS: Final = 1 << (32 - WIDTH - KIND_BITS)
_STRETCH: Final = 8_000
"""Characters of a long text that are read together, in whole blocks: arrays of 64-bit numbers that glibc takes from its
heap, and does not get from the kernel each time (sidecar/allocator.py).
"""
_LETTER_GRAMS = (3, 4, 5)
_BEYOND: Final = " " * (_LETTER_GRAMS[-1] - 1)
"""Set behind a text, so that one may look beyond each place; no n-gram holds two blanks, so it makes none."""
_QUOTE = 0x2019


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
    """The distinct n-grams of some blocks of a text: block << (WIDTH + KIND_BITS) | kind << WIDTH | bucket, in order."""

    keys: Keys
    blocks: int

    @property
    def kinds(self) -> tuple[Keys, ...]:
        """The same apart by kind: block << bits | bucket."""
        kind = (self.keys >> WIDTH) & ((1 << KIND_BITS) - 1)
        block, bucket = self.keys >> (WIDTH + KIND_BITS), self.keys & ((1 << WIDTH) - 1)
        return tuple((block << bits | bucket)[kind == number] for number, bits in enumerate(BITS))


def grams(text: str, block: int) -> Iterator[Grams]:
    """The n-grams of a folded text, parted into blocks of `block` characters by where each begins; some blocks at a time."""
    length = len(text) + 2
    text = f" {text} {_BEYOND}"
    points, classes = _read(text)
    words = tokens(text, points, classes)
    step = min(max(1, _STRETCH // block), _MOST_BLOCKS) * block
    letters = _Letters(min(step, length))
    numbers = (np.arange(step // block, dtype=np.uint32) << np.uint32(WIDTH + KIND_BITS)).repeat(block)
    for start in range(0, length, step):
        end = min(start + step, length)
        reach = slice(start, end + len(_BEYOND))
        of_letters = letters.keys(points[reach], classes[reach], numbers)
        keys = np.concatenate((of_letters, _of_words(words, start, end, numbers)))
        keys.sort()
        yield Grams(keys[_changes(keys)], -(-(end - start) // block))


def _of_words(found: Tokens, start: int, end: int, numbers: Keys) -> Keys:
    """Of n-grams of words and of word classes that begin between these places."""
    words, word_places = found.word_grams(start, end)
    seen, seen_places = found.concept_grams(start, end)
    grams, count = np.concatenate((*words, *seen)), sum(map(len, words))
    mix(grams, np.empty_like(grams))
    grams >>= np.uint64(64 - BITS[0])
    grams[count:] >>= np.uint64(BITS[0] - BITS[2])
    keys: Keys = grams.astype(np.uint32)
    keys[count:] |= np.uint32(2 << WIDTH)
    keys |= numbers[np.concatenate((*word_places, *seen_places))]
    return keys


class _Letters:
    """Makes the n-grams of letters of one stretch after the other, in the same memory: there are most of them."""

    def __init__(self, most: int) -> None:
        self._grams: Hashes = np.empty(len(_LETTER_GRAMS) * most, np.uint64)
        self._spare: Hashes = np.empty_like(self._grams)
        self._keys: Keys = np.empty(self._grams.shape, np.uint32)
        self._whole = np.empty(self._grams.shape, np.bool_)

    def keys(self, points: NDArray[Any], classes: NDArray[np.uint8], numbers: Keys) -> Keys:
        """Of n-grams with white space at their ends only; they begin at all places but the last _BEYOND. `numbers` says
        for each place of the stretch which block it is in, as a part of the key.
        """
        count = len(points) - len(_BEYOND)
        codes, visible = points.astype(np.uint64), classes != SPACE
        gram = codes[:count] * BASE
        gram += codes[1 : 1 + count]
        every, shape = len(_LETTER_GRAMS) * count, (len(_LETTER_GRAMS), count)
        grams, spare = self._grams[:every].reshape(shape), self._spare[:every].reshape(shape)
        keys, whole = self._keys[:every].reshape(shape), self._whole[:every].reshape(shape)
        inner = visible[1 : 1 + count]
        for row, size in enumerate(_LETTER_GRAMS):
            gram *= BASE
            gram += codes[size - 1 : size - 1 + count]
            np.add(gram, SIZES[size], out=grams[row])
            if row:
                inner = inner & visible[size - 2 : size - 2 + count]
            whole[row] = inner
        mix(grams, spare)
        grams >>= np.uint64(64 - BITS[1])
        keys[...] = grams
        keys |= numbers[:count] | np.uint32(1 << WIDTH)
        found: Keys = self._keys.take(self._whole[:every].nonzero()[0])  # half of what keys[whole] takes
        return found


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


def _changes(ordered: NDArray[Any]) -> NDArray[np.bool_]:
    """Where another value begins."""
    first = np.empty(len(ordered), np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first
