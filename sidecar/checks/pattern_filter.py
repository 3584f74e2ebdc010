"""A first look for many RE2 patterns: which of them a text may match, by words that each of them needs.

One pass for all of them, with few states, since no patterns are looked for but words.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

_END = "\x00\x01\x02\x03"


class PatternFilter:
    """Words are looked for in big and small letters, whatever the patterns say."""

    def __init__(self, patterns: Sequence[str]) -> None:
        options = re2.Options()
        options.log_errors = False
        self._filter = re2.Filter()
        for pattern in patterns:
            self._filter.Add(pattern, options)
        self._end = self._filter.Add(re2.escape(_END), options)
        """Set behind each text: where it is not found, the search did not take place."""
        self._filter.Compile()

    def candidates(self, text: bytes) -> Sequence[int]:
        """Numbers of the patterns that may match somewhere, in no order: all others don't."""
        found: list[int] = self._filter.Match(text + _END.encode(), True) or []
        if self._end not in found:
            return range(self._end)
        found.remove(self._end)
        return found
