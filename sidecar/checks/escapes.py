r"""Escapes of a JSON text as checks see it streamed (formats/streamed_json.py): \" and \\ are two characters there.

A link takes a backslash before a quote for its own. Were it redacted, the quote would end its string, and what the model
had put into a string would stand outside of it. So nothing is cut off, replaced or held back in the middle of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sidecar.checks.base import Match


def border(text: str, start: int, at: int) -> int:
    """`at`, or the place before it where that is between a backslash and what it escapes. No pair stands across `start`."""
    first = at
    while first > start and text[first - 1] == "\\":
        first -= 1
    return at - (at - first) % 2


def whole_pairs(text: str, start: int, matches: Sequence[Match]) -> list[Match]:
    """The same matches without the halves of pairs at their ends: a backslash at the end, what one escapes at the start."""
    kept: list[Match] = []
    for match in matches:
        begin, end = match.start, border(text, start, match.end)
        begin += begin != border(text, start, begin)
        if begin < end:
            kept.append(
                match if (begin, end) == (match.start, match.end) else replace(match, start=begin, end=end)
            )
    return kept
