"""A set of patterns says what each of them alone says, also when RE2 gives the set up."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from sidecar.checks.pattern_set import PatternSet

PATTERNS = ("a+b", r"\bsecret\b", "(?i)x{2,3}", "^z", "é")


@given(st.text(alphabet="abxXz secrté\n", max_size=60))
def test_a_set_finds_what_its_patterns_find_alone(text: str) -> None:
    alone = [number for number, pattern in enumerate(PATTERNS) if re2.search(pattern, text)]
    assert PatternSet(PATTERNS).matches(text) == alone
    assert PatternSet(PATTERNS).matches(text.encode()) == alone


def test_a_set_of_nothing_finds_nothing() -> None:
    assert PatternSet(()).matches("anything") == []


class GivenUp:
    """What RE2's set answers when its automaton has no memory left."""

    def Match(self, _text: str) -> None:  # noqa: N802 - the binding's name
        return None


def test_a_search_that_did_not_take_place_is_made_pattern_by_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    made = PatternSet(PATTERNS)
    monkeypatch.setattr(made, "_set", GivenUp())
    assert made.matches("zaab xx") == [0, 2, 3]


def test_patterns_without_room_are_refused_when_they_are_built() -> None:
    with pytest.raises(ValueError, match="no room"):
        PatternSet((r"(?i)[a-z]{100}[0-9]{100}",) * 20, memory=20_000)
