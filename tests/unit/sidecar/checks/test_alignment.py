"""Places in a rewritten text lead back to the original, whatever was normalised, removed or replaced."""

# ruff: noqa: RUF001 - look-alike characters are what is tested
from __future__ import annotations

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
    assert len(lines.spans) == len(read)
    assert all(0 <= start <= end <= len(text) for start, end in lines.spans)


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
