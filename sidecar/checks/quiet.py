"""Pieces of a streamed text that are nothing but plain words: one look for all checks, in place of one by each.

A quiet text is made of words, blanks and the signs of prose, and holds nothing that any of the checks calls `loud`: so
nothing is found in it, and only its last word may become a part of a find. Used by pipe.py (ADR 71).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from sidecar.checks.base import SpanCheck

LONGEST_WORD: Final = 48
"""Characters: checks hold back no more of a word than this and some."""
LONGEST: Final = 256
"""Characters that are looked at together: longer pieces are no tokens of a model."""
# A number stands between four signs that are no digits, or behind as many letters: it is no part of a longer number.
_NUMBER = r"(?:(?<=[a-z]{3}[a-z ])[0-9]{1,4}+(?=[,;]? [a-z]{3}))?"
_WORD = rf"[A-Z]?+[a-z']*+{_NUMBER}[,.;:!?]*+"
_WORDS: Final = re.compile(rf"(?:{_WORD}[ \n]++)*({_WORD})")
"""Its group is the last word. The repeated one is not possessive: Python before 3.11.5 then gives a wrong one."""
_GAP = r"[ \n'.,;:!?]*"
_WITHIN = r"['.,;:!?]*"
_MOST_BEGINNINGS: Final = 32


class Gate:
    """What checks that can tell by signs call loud."""

    def __init__(self, loud: Sequence[str]) -> None:
        signs = "|".join(filter(None, loud))
        self._loud = re.compile(signs) if signs else None

    def passes(self, text: str) -> int | None:
        """Where the last word of a quiet text begins, which begins at a word; None for a text that is not quiet."""
        words = _WORDS.fullmatch(text)
        if words is None or (self._loud is not None and self._loud.search(text)):
            return None
        word = words.start(1)
        return word if len(text) - word <= LONGEST_WORD else None


def gate_of(checks: Sequence[SpanCheck]) -> Gate | None:
    """None where one of these checks can't tell."""
    loud: list[str] = []
    for check in checks:
        said: str | None = getattr(check, "loud", None)
        if said is None:
            return None
        loud.append(said)
    return _gate(tuple(loud)) if loud else None


@lru_cache(maxsize=64)
def _gate(loud: tuple[str, ...]) -> Gate:
    return Gate(loud)


def can_be_quiet(sign: str) -> bool:
    """Whether a text that is quiet but for this sign may hold it."""
    around = [f"{before}{sign}{after}" for before in ("", "a", "aaaa", "aaa ") for after in ("", "a", " aaa")]
    return any(_WORDS.fullmatch(text) for text in around)


def any_of(signs: Iterable[str]) -> str:
    """A pattern of these signs. Each of its alternatives begins with a letter of its own: a search passes over all others
    without trying one.
    """
    rests: dict[str, list[str]] = {}
    for sign in sorted(set(signs)):
        rests.setdefault(sign[0], []).append(re.escape(sign[1:]))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in rests.items())


def begun(tokens: Sequence[str]) -> str | None:
    """A pattern of what the first letters of tokens in lower case look like, with anything between, where they may go on:
    three of them, or fewer up to the text's end that are not in its last word alone. None for too many tokens.
    """
    beginnings = sorted({token[:3] for token in tokens})
    if len(beginnings) > _MOST_BEGINNINGS:
        return None
    patterns: list[str] = []
    for token in beginnings:
        two, three = (f"[{re.escape(char)}{re.escape(char.upper())}]" for char in token[1:])
        crossed = rf"{_WITHIN}[ \n]{_GAP}"
        rest = rf"(?:{crossed}(?:{two}{_GAP})?\Z|{_GAP}{two}(?:{_GAP}{three}|{crossed}\Z))"
        patterns += [f"{re.escape(one)}{rest}" for one in sorted({token[0], token[0].upper()})]
    return "|".join(patterns)
