"""Where digits stand close together in a text: numbers of people begin in such a run, so nobody looks for them elsewhere.

Pure, for detectors/pii.py. One pass finds the runs for all of its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

FEWEST: Final = 6
"""Digits of a run at least."""
_GAP: Final = 3
"""Other characters between two of its digits at most."""
LONGEST_SIGN: Final = FEWEST + (FEWEST - 1) * _GAP
"""Characters within which six digits stand."""
BEHIND: Final = 8
"""Characters behind a run that a number which begins in it may still take (a check letter), or look at."""
_APART: Final = b" " * (_GAP + 1)
_MARKS: Final = bytes(0x30 if 0x30 <= code <= 0x39 else 0x20 for code in range(256))
"""A zero for each digit. By bytes the next one is found at once, by a regular expression character by character."""

Runs: TypeAlias = Sequence[tuple[int, int]]
"""Begin and end of each, in order; between two are more than three characters."""


def digit_runs(text: str, start: int = 0) -> Runs:
    """The runs of what stands at `start` or later, each as long as it goes."""
    marks = text.encode("ascii", "replace").translate(_MARKS)  # one byte a character
    runs: list[tuple[int, int]] = []
    at = marks.find(b"0", start)
    while at >= 0:
        end = marks.find(_APART, at)
        if end < 0:
            end = marks.rfind(b"0") + 1
        if end - at >= LONGEST_SIGN or marks.count(b"0", at, end) >= FEWEST:
            runs.append((at, end))
        at = marks.find(b"0", end)
    return runs


_SIGN: Final = re.compile(rf"[0-9](?:[^0-9]{{0,{_GAP}}}[0-9]){{{FEWEST - 1}}}")


def has_digit_run(text: str, start: int = 0) -> bool:
    """Whether there is one: quicker for a few words."""
    return _SIGN.search(text, start) is not None
