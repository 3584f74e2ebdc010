"""Segments of a text: where they end, and that nothing which follows can move an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.checks.segments import LONGEST, SHORTEST, complete, segments

TEXTS = st.lists(
    st.sampled_from(["tea ", "x", ". ", "! ", "\n", '."', "\u3002", " ", "y" * 90]), max_size=120
).map("".join)


@given(TEXTS)
def test_segments_are_the_whole_text_in_pieces_of_bounded_length(text: str) -> None:
    places = list(segments(text))
    assert "".join(text[begin:end] for begin, end in places) == text
    assert all(SHORTEST <= end - begin <= LONGEST for begin, end in places[:-1])
    assert all(0 < end - begin <= LONGEST for begin, end in places)


@given(TEXTS, TEXTS)
def test_nothing_that_follows_moves_an_end(text: str, more: str) -> None:
    before, after = list(complete(text)), list(complete(text + more))
    assert after[: len(before)] == before
    rest = text[before[-1][1] if before else 0 :]
    assert len(rest) < LONGEST


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("a" * SHORTEST + ". b", ". "),
        ("a" * SHORTEST + '?" b', '?" '),
        ("a" * SHORTEST + "\nb", "\n"),
        ("a" * SHORTEST + "\u3002b", "\u3002"),
        ("a" * SHORTEST + " " + "b" * LONGEST, "a "),
        ("a" * (LONGEST + 1), "a" * LONGEST),
        ("1.5 " * (LONGEST // 4) + "a", "1.5 "),
    ],
)
def test_a_segment_ends_with_a_sentence_or_a_word_if_it_can(text: str, last: str) -> None:
    begin, end = next(complete(text))
    assert text[begin:end].endswith(last)


def test_short_sentences_are_taken_together() -> None:
    assert not list(complete("Tea. " * (SHORTEST // 5 - 1)))
    assert {end - begin for begin, end in complete("Tea. " * 1_000)} == {SHORTEST + 5}
