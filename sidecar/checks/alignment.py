"""Where the characters of a rewritten text stood in the original: for reports, never on a request's way.

Rewritings here (normal forms, folding, removal of invisible characters) work on short stretches that begin at a
character which nothing before it combines with, and only white space depends on what is further away. So stretches are
rewritten one by one, and characters other than white space are counted. Two numbers a character: a scan reads texts of many megabytes.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]
Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """`starts[i]` to `ends[i]` is the stretch of the original that the i-th character of the rewritten text came from.
    Later characters never start earlier.
    """

    starts: Places
    ends: Places
    length: int
    """Of the original."""

    def original(self, start: int, end: int) -> Span:
        """The stretch of the original that rewritten[start:end] came from."""
        inside = self.ends[start:end]
        if not inside.size:
            at = int(self.starts[start]) if start < self.starts.size else self.length
            return at, at
        return int(self.starts[start]), int(inside.max())


def identity(text: str) -> Alignment:
    """For a text that was not rewritten."""
    places = np.arange(len(text) + 1, dtype=np.int32)
    return Alignment(places[:-1], places[1:], len(text))


def align(original: str, rewritten: str, rewrite: Callable[[str], str]) -> Alignment:
    """`rewritten` is `rewrite(original)`. Where stretches can't be told apart, a character stands for the whole text."""
    if original == rewritten:
        return identity(original)
    starts = array("i", _starts(original))
    starts.append(len(original))
    visible = array("i")
    sizes: dict[str, int] = {}
    """How many visible characters each stretch becomes: a text has few different ones."""
    for number in range(len(starts) - 1):
        stretch = original[starts[number] : starts[number + 1]]
        if (size := sizes.get(stretch)) is None:
            size = sizes[stretch] = len("".join(rewrite(stretch).split()))
        visible.append(size)
    edges, counts = np.asarray(starts, np.int32), np.asarray(visible, np.int32)
    seen = np.fromiter((not char.isspace() for char in rewritten), np.bool_, len(rewritten))
    if counts.sum() != seen.sum():
        whole = np.zeros(len(rewritten), np.int32)
        return Alignment(whole, whole + np.int32(len(original)), len(original))
    ends = np.zeros(len(rewritten), np.int32)
    ends[seen] = np.repeat(edges[1:], counts)
    ends = np.maximum.accumulate(ends)
    begins = (
        ends.copy()
    )  # white space stands where the last stretch ends, or in it where that became several words
    begins[seen] = np.repeat(edges[:-1], counts)
    return Alignment(np.minimum.accumulate(begins[::-1])[::-1], ends, len(original))


def spliced(before: Alignment, edits: list[tuple[int, int, int]]) -> Alignment:
    """After edits (start, end, length of the replacement), in order and without overlaps: each new character stands
    for all that was replaced.
    """
    starts: list[Places] = []
    ends: list[Places] = []
    done = 0
    for start, end, length in edits:
        first, last = before.original(start, end)
        starts += before.starts[done:start], np.full(length, first, np.int32)
        ends += before.ends[done:start], np.full(length, last, np.int32)
        done = end
    starts.append(before.starts[done:])
    ends.append(before.ends[done:])
    return Alignment(np.concatenate(starts), np.concatenate(ends), before.length)


def composed(outer: Alignment, inner: Alignment) -> Alignment:
    """`inner` leads from the newest text to the one that `outer` leads back from."""
    begins = np.append(outer.starts, np.int32(outer.length))[inner.starts]
    furthest = np.append(np.int32(0), np.maximum.accumulate(outer.ends))[inner.ends]
    return Alignment(begins, np.where(inner.starts == inner.ends, begins, furthest), outer.length)


def _starts(text: str) -> Iterator[int]:
    """Where parts of the text that are rewritten independently begin: ASCII characters begin a new one, and so does any
    other character that does not combine with what stands before it.
    """
    if text.isascii():
        return iter(range(len(text)))
    return (index for index in range(len(text)) if index == 0 or _begins(text[index - 1], text[index]))


def _begins(before: str, char: str) -> bool:
    if char.isascii():
        return True
    return (
        not unicodedata.combining(char)
        and unicodedata.category(char)[0] != "M"
        and unicodedata.normalize("NFKC", before + char)
        == unicodedata.normalize("NFKC", before) + unicodedata.normalize("NFKC", char)
    )
