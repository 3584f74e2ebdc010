r"""Checks over a JSON text as it is streamed (formats/streamed_json.py), which keeps \" and \\ and the ends of strings.

A check is shown a pair as the one character that it stands for. What it finds is redacted without the quotes that end
strings: else what a model had put into a string would stand outside of it, or a string would not end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sidecar.checks.base import Match, SpanCheck

_PAIR = re.compile(r'\\(["\\])')
_SAYS = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Unescaped:
    """`text` of which each character stood in `whole` at its place; without `places` where it stands."""

    text: str
    whole: str
    places: list[int] | None = None

    def at(self, index: int) -> int:
        """Where in the whole this character began."""
        if self.places is None:
            return index
        return self.places[index] if index < len(self.places) else len(self.whole)

    def wall(self, start: int, end: int) -> int:
        """The first quote from `start` on that ends or begins a string; `end` without one."""
        found = self.text.find('"', start, end)
        while found >= 0 and self.whole[self.at(found)] != '"':
            found = self.text.find('"', found + 1, end)
        return end if found < 0 else found


def unescaped(whole: str, start: int) -> tuple[Unescaped, int]:
    """A text with its pairs as one character, and where `start` is in it. No pair stands across `start`."""
    if "\\" not in whole:
        return Unescaped(whole, whole), start
    places: list[int] = []
    before = _places(whole, 0, start, places)
    begin = len(places)
    return Unescaped(before + _places(whole, start, len(whole), places), whole, places), begin


def _places(whole: str, start: int, end: int, places: list[int]) -> str:
    done = start
    for pair in _PAIR.finditer(whole, start, end):
        places += range(done, pair.start() + 1)
        done = pair.end()
    places += range(done, end)
    return _PAIR.sub(r"\1", whole[start:end])


def matches(check: SpanCheck, seen: Unescaped, start: int) -> list[Match]:
    """What a check finds, none of it across the end of a string.

    A tag or link goes no further than its string: what else it seemed to hold is looked at string by string. Of other
    finds all that says something is one.
    """
    kept: list[Match] = []
    done = start
    for match in check.matches(seen.text, start):
        begin = max(match.start, done)
        if begin >= match.end:
            continue
        if seen.wall(begin, match.end) == match.end:
            kept.append(match if begin == match.start else replace(match, start=begin))
        elif getattr(check, "rendered", False):
            stop = seen.wall(begin, match.end)
            if begin < stop:
                kept.append(replace(match, start=begin, end=stop))
            done = stop + 1
            while done < match.end:
                stop = seen.wall(done, len(seen.text))
                inside = check.matches(seen.text[done:stop])
                kept += [replace(one, start=one.start + done, end=one.end + done) for one in inside]
                done = stop + 1
        else:
            kept += _pieces(match, seen, begin)
    return kept


def _pieces(match: Match, seen: Unescaped, begin: int) -> Iterator[Match]:
    while begin < match.end:
        stop = seen.wall(begin, match.end)
        if _SAYS.search(seen.text, begin, stop):
            yield replace(match, start=begin, end=stop)
        begin = stop + 1
