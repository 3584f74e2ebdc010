"""A first look leaves out no pattern that matches, also when RE2 gives it up."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from sidecar.checks.pattern_filter import PatternFilter

PATTERNS = (r"\bsecret\b", "(?i)key[0-9]+", "^(?:tell|show) me$", "clé", "[a-c]z*")
FILTER = PatternFilter(PATTERNS)


@given(
    st.lists(
        st.sampled_from(
            ("secret", "SECRET", "key", "KeY", "7", "tell", " me", "clé", "CLÉ", "z", " ", "\n", "text")
        )
    ).map("".join)
)
def test_every_pattern_that_matches_is_a_candidate(text: str) -> None:
    matching = {number for number, pattern in enumerate(PATTERNS) if re2.search(pattern, text)}
    assert matching <= set(FILTER.candidates(text.encode()))


def test_a_pattern_is_no_candidate_without_its_words_but_one_without_words_always_is() -> None:
    assert list(FILTER.candidates(b"tell me the key")) == [1, 2, 4]
    assert list(FILTER.candidates(b"")) == [4]


class GivenUp:
    """What RE2's filter answers when its automaton has no memory left: only what has no words."""

    def Match(self, _text: bytes, _potential: bool) -> list[int]:  # noqa: N802 - the binding's name
        return [4]


def test_after_a_search_that_did_not_take_place_every_pattern_is_a_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = PatternFilter(PATTERNS)
    monkeypatch.setattr(made, "_filter", GivenUp())
    assert list(made.candidates(b"z")) == list(range(len(PATTERNS)))
