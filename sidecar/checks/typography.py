"""A text with the plain signs that its typography stands for, so that detectors of forms need to know only those.

Full-width letters and digits of any script become ASCII, dashes inside of numbers and codes hyphens, and up to three
invisible characters (controls among them) between others go. Positions lead back to the text as it was. Used by the
detectors pii, secrets and canary.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import msgspec
import re2

from sidecar.checks.base import Match
from sidecar.checks.pieces import rewritten
from sidecar.checks.signs import holds_any

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
_BLANK = "\u200b"
_UNSEEN = [
    *(0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0),
    *range(0x80, 0x85),
    *range(0x86, 0xA0),
    *range(0x180B, 0x1810),
    *range(0x2066, 0x2070),
    *range(0xFE00, 0xFE10),
    *range(0xFFF0, 0xFFFC),
    *range(0x13430, 0x13440),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE0080),
    *range(0xE0100, 0xE01F0),
]
"""What is shown as nothing at all (Unicode's Default_Ignorable_Code_Point, controls, fillers) and is no mark of another sign."""
_SIGNS = {
    **_DIGITS,
    **{code: chr(code - 0xFEE0) for code in _FULL_WIDTH},
    **dict.fromkeys(_UNSEEN, _BLANK),
}
_SIGN = re2.compile(f"[{''.join(map(chr, _SIGNS))}]")
"""By RE2: Python's search for one of so many signs beyond the first plane takes a hundred times as long."""
# Look-behinds stand after the first character: a pattern that begins with a character class is searched much faster.
_DASH = re.compile(r"[\u2010-\u2015\u2212\ufe58\ufe63](?<=[0-9A-Z)].)(?=[0-9A-Z(]|\Z)")
_SHORT = 256
_CONTROLS = bytes([*range(0x09), *range(0x0E, 0x20), 0x7F])
_INVISIBLE = r"[\x00-\x08\x0e-\x1f\x7f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
_GAP = re.compile(f"{_INVISIBLE}(?<!{_INVISIBLE}.){_INVISIBLE}{{0,{SPREAD - 2}}}(?!{_INVISIBLE})")


class _Places(Sequence[int]):
    """Where each character stood of a text without these gaps."""

    def __init__(self, gaps: Sequence[tuple[int, int]], length: int) -> None:
        self._gone = list(accumulate((end - start for start, end in gaps), initial=0))
        self._seams = [start - gone for (start, _), gone in zip(gaps, self._gone, strict=False)]
        """Where the gaps were, in the text that is left."""
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        if not 0 <= index < self._length:
            raise IndexError(index)
        return index + self._gone[bisect_right(self._seams, index)]


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

    def settled(self, index: int, length: int, longest: int) -> int:
        """Where in a text of this length it began to be unsettled: what was longer there is no match."""
        if self.places is None:
            return index
        return max(length - longest + 1, self.places[index] if index < len(self.places) else length)


def plain(text: str) -> Plain:
    """The same text for one that is plain already, which costs little to see."""
    if text.isascii() and not has_controls(text):
        return Plain(text)
    made = ascii_signs(text)
    gaps = [gap.span() for gap in _GAP.finditer(made)]
    if not gaps:
        return Plain(_DASH.sub("-", made))
    left = _GAP.sub("", made)
    return Plain(_DASH.sub("-", left), _Places(gaps, len(left)))


def has_controls(text: str) -> bool:
    """Of an ASCII text: whether characters are in it that nobody sees. So it takes a tenth of a search for them."""
    if len(text) < _SHORT and text.isprintable():
        return False
    return holds_any(text, _CONTROLS)


def ascii_signs(text: str) -> str:
    """Full-width letters and signs, and digits of any script, as ASCII, what nobody sees as one blank: one for one."""
    return text if text.isascii() or not _SIGN.search(text) else rewritten(text, _translated)


def _translated(piece: str) -> str:
    return piece.translate(_SIGNS) if _SIGN.search(piece) else piece
