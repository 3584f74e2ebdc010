"""A text with the plain signs that its typography stands for, so that detectors of forms need to know only those.

Full-width letters and digits of any script become ASCII, dashes inside of numbers and codes hyphens, and up to three
invisible characters between others go. Positions lead back to the text as it was. Used by the detectors pii, secrets and canary.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import re2

from sidecar.checks.base import Match

SPREAD = 4
"""So many characters of the text at most stand for one of the plain text."""
_FULL_WIDTH = [
    *range(0xFF10, 0xFF1A),
    *range(0xFF21, 0xFF3B),
    *range(0xFF41, 0xFF5B),
    *map(ord, "\uff20\uff0e\uff0d\uff0b\uff3f\uff0f\uff1d"),
]
_LAST_DIGIT = 0x1FFFF
"""Of any script; what lies beyond are ideographs and private characters (a test looks at them all)."""
_DIGITS = {
    code: str(unicodedata.digit(char))
    for code, char in enumerate(map(chr, range(0x80, _LAST_DIGIT + 1)), start=0x80)
    if char.isdecimal()
}
_SIGNS = {**_DIGITS, **{code: chr(code - 0xFEE0) for code in _FULL_WIDTH}}
_SIGN = re2.compile(f"[{''.join(map(chr, _SIGNS))}]")
"""By RE2: Python's search for one of so many signs beyond the first plane takes a hundred times as long."""
# Look-behinds stand after the first character: a pattern that begins with a character class is searched much faster.
_DASH = re.compile(r"[\u2010-\u2015\u2212\ufe58\ufe63](?<=[0-9A-Z)].)(?=[0-9A-Z(]|\Z)")
_INVISIBLE = (
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]"
)
_GAP = re.compile(f"{_INVISIBLE}(?<!{_INVISIBLE}.){_INVISIBLE}{{0,{SPREAD - 2}}}(?!{_INVISIBLE})")


class Plain(msgspec.Struct, frozen=True, gc=False):
    """`text`, and where each of its characters stood; without `places` each stands where it stood."""

    text: str
    places: Sequence[int] | None = None

    def at(self, start: int) -> int:
        """The first character that stood at `start` or later."""
        return start if self.places is None else bisect_left(self.places, start)

    def back(self, matches: Sequence[Match], longest: int) -> list[Match]:
        """These matches in the text as it was; not those that are longer there than a stream may hold."""
        if self.places is None:
            return list(matches)
        moved = [
            replace(match, start=self.places[match.start], end=self.places[match.end - 1] + 1)
            for match in matches
        ]
        return [match for match in moved if match.end - match.start <= longest]

    def settled(self, index: int, length: int) -> int:
        """Where in a text of this length it began to be unsettled."""
        if self.places is None:
            return index
        return self.places[index] if index < len(self.places) else length


def plain(text: str) -> Plain:
    """The same text for one that is plain already, which costs little to see."""
    if text.isascii():
        return Plain(text)
    made = ascii_signs(text)
    gaps = [gap.span() for gap in _GAP.finditer(made)]
    if not gaps:
        return Plain(_DASH.sub("-", made))
    places: list[int] = []
    done = 0
    for start, end in gaps:
        places += range(done, start)
        done = end
    places += range(done, len(made))
    return Plain(_DASH.sub("-", _GAP.sub("", made)), places)


def ascii_signs(text: str) -> str:
    """Full-width letters and signs, and digits of any script, as ASCII: one character for one."""
    return text if text.isascii() or not _SIGN.search(text) else text.translate(_SIGNS)
