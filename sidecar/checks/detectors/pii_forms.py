"""Personal data found by form: a pattern, a check of what it matched, and often a word before that announces it.

Pure; detectors/pii.py runs it over the tables of national_forms.py and pii_places.py. Every form states its longest
match, and what a text may end with that could still become one: a stream holds back no more than that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import re2

from sidecar.checks.base import Match
from sidecar.checks.detectors.digit_runs import BEHIND, Runs
from sidecar.checks.pattern_set import PatternSet
from sidecar.checks.spans import TOO_MANY, Allowance

CONTEXT: Final = 64
"""Characters before a match that decide about it: its boundary, or the word that announces it."""
_CHARS_PER_CANDIDATE: Final = 12

_DIGIT_FIRST: Final = r"[0-9](?<![\w].)"
"""How the openings of forms begin whose matches begin with a digit."""

PLACEHOLDERS: Final = {
    "card": "[CARD]",
    "ssn": "[SSN]",
    "national_id": "[NATIONAL_ID]",
    "passport": "[PASSPORT]",
    "driving_licence": "[DRIVING_LICENCE]",
    "ip": "[IP]",
    "mac": "[MAC]",
    "crypto": "[CRYPTO]",
    "birth_date": "[BIRTH_DATE]",
    "address": "[ADDRESS]",
    "coordinates": "[COORDINATES]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form. `pattern` begins and ends at a boundary and says where; group 1, if there is one, is the match.

    sign: an RE2 pattern without which the form needs no look. opening: what the end of a text looks like while a match
    may begin in it. announced: must be found at the end of the text before the match. in_run: every match begins with the
    digits of a run (digit_runs.py), and takes no more than a few signs behind it.
    """

    kind: str
    rule: str
    pattern: re.Pattern[str]
    sign: str
    opening: re.Pattern[str]
    longest: int
    valid: Callable[[str], bool] | None = None
    announced: re.Pattern[str] | None = None
    score: float = 1.0
    in_run: bool = False


class Forms:
    """Finds matches of several forms; one pass says which of them need a look."""

    def __init__(self, forms: Sequence[Form]) -> None:
        self._forms = tuple(forms)
        self.longest = max((form.longest for form in forms), default=0)
        self._signs = PatternSet(form.sign for form in forms)
        self.kinds = frozenset(form.kind for form in forms)
        self.begin_with_digits = all(form.opening.pattern.startswith(_DIGIT_FIRST) for form in forms)
        """Whether a match of any of them begins with a digit."""
        self._openings = tuple(dict.fromkeys((form.opening, form.longest) for form in forms))

    def find(self, text: str, start: int, runs: Runs) -> Iterator[Match]:
        """Matches that begin at `start` or later; those of different forms may overlap. `runs`: of the digits from there on."""
        if not self._forms:
            return
        allowance = Allowance(text, _CHARS_PER_CANDIDATE)
        for number in self._signs.matches(text):
            form = self._forms[number]
            yield from _matches(form, text, _candidates(form, text, start, runs), allowance)

    def open_length(self, tail: str) -> int:
        """How much of the tail's end may be, or become, a match."""
        held = 0
        for opening, longest in self._openings:
            window = tail[-longest:]
            if found := opening.search(window):
                held = max(held, len(window) - found.start())
        return held


def announced(*words: str, gap: int = 24) -> re.Pattern[str]:
    """One of these words (patterns) at most `gap` characters before, with no digit and no line end between."""
    return re.compile(rf"(?i:(?<![^\W_])(?:{'|'.join(words)})(?![^\W\d_]))[^0-9\n]{{0,{gap}}}\Z")


def also_announced(form: Form, words: Sequence[str]) -> Form:
    """The same form, announced by these words (plain text) too. One that needs no word is left as it is."""
    if form.announced is None or not words:
        return form
    known = announced(*(re.escape(word) for word in words))
    return replace(
        form,
        announced=re.compile(f"{form.announced.pattern}|{known.pattern}"),
        sign=rf"{form.sign}|(?i:{'|'.join(re2.escape(word) for word in words)})",
    )


def _candidates(form: Form, text: str, start: int, runs: Runs) -> Iterator[re.Match[str]]:
    if not form.in_run:
        return form.pattern.finditer(text, start)
    return chain.from_iterable(form.pattern.finditer(text, begin, end + BEHIND) for begin, end in runs)


def _matches(
    form: Form, text: str, candidates: Iterator[re.Match[str]], allowance: Allowance
) -> Iterator[Match]:
    group = form.pattern.groups
    for found in candidates:
        first, end = found.span(group)
        if not allowance.spend():
            yield Match(start=first, end=len(text), kind=TOO_MANY, replacement=PLACEHOLDERS[form.kind])
            return
        if form.announced is not None and not form.announced.search(text[max(0, first - CONTEXT) : first]):
            continue
        if form.valid is not None and not form.valid(text[first:end]):
            continue
        yield Match(
            start=first,
            end=end,
            kind=form.kind,
            replacement=PLACEHOLDERS[form.kind],
            score=form.score,
            rule=form.rule,
        )
