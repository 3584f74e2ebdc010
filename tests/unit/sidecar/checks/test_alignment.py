"""Places in a rewritten text lead back to the original, whatever was normalised, removed or replaced."""

# ruff: noqa: RUF001 - look-alike characters are what is tested
from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.checks import views
from sidecar.checks.alignment import align, composed, identity, spliced


def folded(text: str) -> str:
    return views.folded(views.plain(text))


@pytest.mark.parametrize(
    ("text", "word", "place"),
    [
        ("well,  IGNORE\tthis", "ignore", "IGNORE"),
        ("ig\u200bno\u2060re me", "ignore", "ig\u200bno\u2060re"),
        ("ｉｇｎｏｒｅ ﬁne", "fine", "ﬁne"),
        ("e\u0301te\u0301 ignoré", "ignore", "ignoré"),
        ("іgnоrе аll", "all", "аll"),
        ("한국어 ignore", "ignore", "ignore"),
    ],
)
def test_a_word_of_the_folded_text_is_found_in_the_original(text: str, word: str, place: str) -> None:
    read = folded(text)
    start, end = align(text, read, folded).original(read.index(word), read.index(word) + len(word))
    assert text[start:end] == place


@settings(deadline=None)
@given(st.text(max_size=60))
def test_every_character_leads_into_the_original(text: str) -> None:
    read = folded(text)
    lines = align(text, read, folded)
    spans = list(zip(lines.starts.tolist(), lines.ends.tolist(), strict=True))
    assert len(spans) == len(read)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans, key=lambda span: span[0])


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=60), st.data())
def test_visible_ascii_characters_lead_to_themselves(text: str, data: st.DataObject) -> None:
    read = folded(text)
    lines = align(text, read, folded)
    for at, char in enumerate(read):
        if not char.isspace():
            start, end = lines.original(at, at + 1)
            assert text[start:end].lower() == char


def test_what_replaces_a_stretch_stands_for_all_of_it() -> None:
    lines = spliced(identity("mail a@b.c now"), [(5, 10, len("[EMAIL]"))])
    assert lines.original(5, 6) == (5, 10)
    assert lines.original(12, 16) == (10, 14)
    twice = composed(lines, spliced(identity("mail [EMAIL] now"), [(0, 4, 1)]))
    assert twice.original(0, 1) == (0, 4)
    assert twice.original(2, 9) == (5, 10)


def test_a_long_text_takes_eight_bytes_a_character_and_not_a_pair_of_objects() -> None:
    text = "mail a\u200b@b.c " * 50_000
    tracemalloc.start()
    try:
        lines = composed(spliced(identity(text), [(0, 4, 1)]), align(text[3:], folded(text[3:]), folded))
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines.original(0, 1) == (0, 4)
    assert kept < 10 * len(text)
    assert most < 100 * len(text)


def test_white_space_inside_of_a_character_that_became_words_does_not_lead_behind_it() -> None:
    read = folded("x ﷺ y")
    lines = align("x ﷺ y", read, folded)
    assert read.count(" ") > 2
    assert lines.original(read.index(" ", 2), len(read)) == (2, 5)
