"""A text in segments that say enough by themselves: whole sentences or lines of about a hundred words.

Where one ends depends on nothing after its end, so a stream has the same segments as the whole text, however it is
split, and keeps no more than one. Used by the detector of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

SHORTEST: Final = 240
"""Sentences are taken together until they are as long: of less text a model knows too little."""
LONGEST: Final = 480
_SENTENCE: Final = re.compile(r"[.!?\u2026]['\"\u2019\u201d)\]]*[ \t\u00a0]|[\u3002\uff01\uff1f\n]")


def complete(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """Begin and end of each segment from `start` on that no following text can change."""
    while (end := _end(text, start)) is not None:
        yield start, end
        start = end


def segments(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """All segments of a text that has ended."""
    for begin, end in complete(text, start):
        yield begin, end
        start = end
    if start < len(text):
        yield start, len(text)


def _end(text: str, start: int) -> int | None:
    """After the first sentence that makes it long enough, else after the last blank before it is too long."""
    found = _SENTENCE.search(text, start + SHORTEST - 1, start + LONGEST)
    if found:
        return found.end()
    if len(text) < start + LONGEST:
        return None
    blank = text.rfind(" ", start + SHORTEST, start + LONGEST)
    return start + LONGEST if blank < 0 else blank + 1
