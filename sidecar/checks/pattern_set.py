"""Many RE2 patterns searched in one pass, for the checks. A set that could not search says so, and each is tried alone.

RE2 gives a set's automaton a fixed share of memory; where that is not enough, it answers as if nothing matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import re2


class PatternSet:
    """`memory`: bytes for the states of the set. Raises ValueError when the patterns find no room in them."""

    def __init__(self, patterns: Iterable[str], *, memory: int | None = None) -> None:
        options = re2.Options()
        options.log_errors = False
        if memory is not None:
            options.max_mem = memory
        self._patterns = tuple(patterns)
        self._set = re2.Set.SearchSet(options)
        for pattern in self._patterns:
            self._set.Add(pattern)
        self._every = self._set.Add(r"\z")
        """Matches every text, at its end: without it in an answer, the search did not take place. A pattern that matches
        at every place would do as well, but the search would note it at every byte, which takes twice as long again.
        """
        try:
            self._set.Compile()
        except re2.error as error:
            raise ValueError(f"{len(self._patterns)} patterns find no room in a set") from error

    def matches(self, text: str | bytes) -> list[int]:
        """Numbers of the patterns that match somewhere, rising."""
        found: Sequence[int] = self._set.Match(text) or ()
        if len(found) == 1 and found[0] == self._every:
            return []  # as nearly always
        found = sorted(found)
        if found and found[-1] == self._every:
            return found[:-1]
        return [number for number, pattern in enumerate(self._patterns) if re2.search(pattern, text)]
