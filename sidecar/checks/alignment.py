"""Where the characters of a rewritten text stood in the original: for reports, never on a request's way.

Rewritings here (normal forms, folding, removal of invisible characters) work on short stretches that begin at a
character which nothing before it combines with, and only white space depends on what is further away. So stretches are
rewritten one by one, and characters other than white space are counted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Alignment:
    """`spans[i]` is the stretch of the original that the i-th character of the rewritten text came from."""

    spans: tuple[Span, ...]
    length: int
    """Of the original."""

    def original(self, start: int, end: int) -> Span:
        """The stretch of the original that rewritten[start:end] came from."""
        inside = self.spans[start:end]
        if not inside:
            at = self.spans[start][0] if start < len(self.spans) else self.length
            return at, at
        return min(first for first, _ in inside), max(last for _, last in inside)


def identity(text: str) -> Alignment:
    """For a text that was not rewritten."""
    return Alignment(tuple((index, index + 1) for index in range(len(text))), len(text))


def align(original: str, rewritten: str, rewrite: Callable[[str], str]) -> Alignment:
    """`rewritten` is `rewrite(original)`. Where stretches can't be told apart, a character stands for the whole text."""
    if original == rewritten:
        return identity(original)
    places: list[Span] = []
    sizes: dict[str, int] = {}
    """How many visible characters each stretch becomes: a text has few different ones."""
    for start, end in _stretches(original):
        stretch = original[start:end]
        if (size := sizes.get(stretch)) is None:
            size = sizes[stretch] = len("".join(rewrite(stretch).split()))
        places += [(start, end)] * size
    if len(places) != sum(not char.isspace() for char in rewritten):
        return Alignment(((0, len(original)),) * len(rewritten), len(original))
    spans: list[Span] = []
    visible = iter(places)
    last = 0
    for char in rewritten:
        if char.isspace():
            spans.append((last, last))
        else:
            spans.append(next(visible))
            last = spans[-1][1]
    return Alignment(tuple(spans), len(original))


def spliced(before: Alignment, edits: list[tuple[int, int, int]]) -> Alignment:
    """After edits (start, end, length of the replacement), in order and without overlaps: each new character stands
    for all that was replaced.
    """
    spans: list[Span] = []
    done = 0
    for start, end, length in edits:
        spans += before.spans[done:start]
        spans += [before.original(start, end)] * length
        done = end
    spans += before.spans[done:]
    return Alignment(tuple(spans), before.length)


def composed(outer: Alignment, inner: Alignment) -> Alignment:
    """`inner` leads from the newest text to the one that `outer` leads back from."""
    return Alignment(tuple(outer.original(start, end) for start, end in inner.spans), outer.length)


def _stretches(text: str) -> list[Span]:
    """Parts of the text that are rewritten independently: ASCII characters begin a new one, and so does any other
    character that does not combine with what stands before it.
    """
    if text.isascii():
        return [(index, index + 1) for index in range(len(text))]
    starts = [index for index in range(len(text)) if index == 0 or _begins(text[index - 1], text[index])]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def _begins(before: str, char: str) -> bool:
    if char.isascii():
        return True
    return (
        not unicodedata.combining(char)
        and unicodedata.category(char)[0] != "M"
        and unicodedata.normalize("NFKC", before + char)
        == unicodedata.normalize("NFKC", before) + unicodedata.normalize("NFKC", char)
    )
