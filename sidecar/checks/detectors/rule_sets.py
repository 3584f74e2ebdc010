"""Sets of rules by category, each set searched in one pass and only where one of its rules may match."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import re2

from sidecar.checks.pattern_filter import PatternFilter
from sidecar.checks.pattern_set import PatternSet

Place: TypeAlias = tuple[str, str, tuple[int, int]]
"""Category, rule, where."""
_Rule: TypeAlias = tuple[str, str, str]
"""Category, name, pattern."""
_MEMORY = 8 << 20
"""RE2's ceiling for one set's states, which it builds as texts need them and starts anew when they are full."""
_LOOK_FIRST = 4_000
"""Bytes of a text in which the words that rules need are looked for first. That takes as long as one and a half of four
sets; of a longer text more than two have such a word, and then it does not pay.
"""


class RuleSets:
    """RE2 sets and the category of each of their patterns. States of one set multiply, those of several only add up.
    `first`: the words that rules need are looked for first. It pays for many rules of which most texts hold no word.
    """

    def __init__(self, rules: Sequence[tuple[str, str]], sets: int = 1, *, first: bool = False) -> None:
        numbers: Counter[str] = Counter()
        self._sets: list[tuple[PatternSet, list[_Rule]]] = []
        self._set_of: list[int] = []
        for part in range(sets):
            chosen = rules[len(rules) * part // sets : len(rules) * (part + 1) // sets]
            named: list[_Rule] = []
            for kind, pattern in chosen:
                numbers[kind] += 1
                named.append((kind, f"{kind}/{numbers[kind]}", pattern))
            self._sets.append((PatternSet((pattern for _, pattern in chosen), memory=_MEMORY), named))
            self._set_of += [part] * len(chosen)
        self._filter = PatternFilter([pattern for _, pattern in rules]) if first else None

    def _matching(self, text: str) -> Iterator[_Rule]:
        data = text.encode()
        parts: Iterable[int] = range(len(self._sets))
        if self._filter is not None and len(data) <= _LOOK_FIRST:
            parts = sorted({self._set_of[number] for number in self._filter.candidates(data)})
        for part in parts:
            rule_set, rules = self._sets[part]
            yield from (rules[index] for index in rule_set.matches(data))

    def kinds(self, text: str) -> set[str]:
        """Categories of the rules that match somewhere."""
        return {kind for kind, _, _ in self._matching(text)} if text else set()

    def places(self, text: str) -> list[Place]:
        """Category, number and first place of every rule that matches, for reports."""
        found = ((rule, _compiled(rule[2]).search(text)) for rule in self._matching(text))
        return [(kind, name, match.span()) for (kind, name, _), match in found if match]


@functools.cache
def _compiled(pattern: str) -> re2.Pattern:
    """re2 itself remembers 128 patterns, fewer than there are rules: it would compile them anew for every text."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
