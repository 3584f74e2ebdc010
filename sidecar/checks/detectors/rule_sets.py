"""Rules by category, searched one by one where their words are, or in sets, each in one pass.

RE2 makes states as texts need them, and for many rules at once nearly every text needs new ones: a worker that had read
thousands of prompts held 15 to 27 MB of them, and making them was most of the time that rules took. One rule needs few.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import re2

from sidecar.checks.pattern_filter import PatternFilter
from sidecar.checks.pattern_set import PatternSet

Place: TypeAlias = tuple[str, str, tuple[int, int]]
"""Category, rule, where."""
_Rule: TypeAlias = tuple[str, str, str]
"""Category, name, pattern."""
_MEMORY = 4 << 20
"""RE2's ceiling for one set's states, which it builds as texts need them and starts anew when they are full."""
_ALONE = 1 << 20
"""The same for a rule by itself; RE2 goes on without states where this does not pay."""


class RuleSets:
    """Rules and their categories. In RE2 sets (states of one set multiply, those of several only add up), or, with `first`,
    one by one: the words that rules need are looked for first. It pays for many rules of which most texts hold no word.
    """

    def __init__(self, rules: Sequence[tuple[str, str]], sets: int = 1, *, first: bool = False) -> None:
        numbers: Counter[str] = Counter()
        self._rules: list[_Rule] = []
        for kind, pattern in rules:
            numbers[kind] += 1
            self._rules.append((kind, f"{kind}/{numbers[kind]}", pattern))
        self._filter = PatternFilter([pattern for _, pattern in rules]) if first else None
        self._sets: list[tuple[PatternSet, list[_Rule]]] = []
        for part in range(0 if first else sets):
            chosen = self._rules[len(rules) * part // sets : len(rules) * (part + 1) // sets]
            self._sets.append((PatternSet((pattern for _, _, pattern in chosen), memory=_MEMORY), chosen))

    def _matching(self, text: str) -> Iterator[_Rule]:
        data = text.encode()
        if self._filter is not None:
            likely = (self._rules[number] for number in sorted(self._filter.candidates(data)))
            yield from (rule for rule in likely if alone(rule[2]).search(data))
        for rule_set, rules in self._sets:
            yield from (rules[index] for index in rule_set.matches(data))

    def kinds(self, text: str) -> set[str]:
        """Categories of the rules that match somewhere."""
        return {kind for kind, _, _ in self._matching(text)} if text else set()

    def places(self, text: str) -> list[Place]:
        """Category, number and first place of every rule that matches, for reports."""
        found = ((rule, alone(rule[2]).search(text)) for rule in self._matching(text))
        return [(kind, name, match.span()) for (kind, name, _), match in found if match]


@functools.cache
def alone(pattern: str) -> re2.Pattern:
    """A rule by itself, compiled when a text first asks for it; re2 remembers 128 patterns, fewer than there are rules."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _ALONE
    return re2.compile(pattern, options)
