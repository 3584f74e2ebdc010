"""Long texts are rewritten piece by piece, and come out as if they had been rewritten as a whole."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.checks import typography, views
from sidecar.checks.normal_form import normal_form
from sidecar.checks.sanitizers import unicode as sanitizer

_PARTS = st.one_of(
    st.text(max_size=3),
    st.sampled_from(
        [
            "\u0301",
            "\u03a3",
            " \u03a3",
            "A\u03a3.",
            "\u0130",
            "\u1e9e",
            "\ufdfa",
            "\u00a8",
            "e",
            "\u212b",
            "\u1100\u1161\u11a8",
        ]
    ),
    st.sampled_from(
        ["\u200b", "\ufe0f", "\u200d", "\u200c", "\U000e0101", "\x00", "\U0001f469", "\u0915", "#", "\x85"]
    ),
    st.sampled_from([" ", "  ", "\n", "\t ", "\u00a0", "\u2028", "\uff11", "\uff20", "\u0661", "\u2013"]),
    st.integers(20, 30).map("The quick brown fox ".__mul__),
)
LONG = st.lists(_PARTS, max_size=40).map("".join)
"""ASCII longer than a piece, and between it what depends on its neighbours."""


@given(LONG, st.sampled_from(["NFC", "NFD", "NFKC"]))
@example("x" * 255 + "e\u0301\u0327", "NFC")
def test_a_long_text_has_the_normal_form_of_the_whole(text: str, form: Literal["NFC", "NFD", "NFKC"]) -> None:
    text = re.sub("(\u0301{20})\u0301+", r"\1", text)
    assert normal_form(form, text) == unicodedata.normalize(form, text)


@given(LONG)
def test_a_long_text_is_made_plain_as_a_whole(text: str) -> None:
    whole = views._INVISIBLE.sub("", normal_form("NFKC", text))
    assert views.plain(text) == " ".join(whole.split()).lower()


@given(LONG)
def test_signs_of_a_long_text_are_those_of_the_whole(text: str) -> None:
    assert typography.ascii_signs(text) == text.translate(typography._SIGNS)


@given(LONG)
def test_places_lead_to_the_same_characters(text: str) -> None:
    read = typography.plain(text)
    signs = typography.ascii_signs(text)
    gone = {place for gap in typography._GAP.finditer(signs) for place in range(*gap.span())}
    places = [place for place in range(len(text)) if place not in gone]
    assert list(range(len(text)) if read.places is None else read.places) == places
    assert [read.at(start) for start in (*gone, len(text))] == [
        sum(place < start for place in places) for start in (*gone, len(text))
    ]


@pytest.mark.parametrize("before", ["", "a", "#", "7", "\u0915", "\U0001f469", "\ufe0f", "\u200d", "\u200b"])
@pytest.mark.parametrize(
    "hidden", ["\u00ad", "\u200b", "\u200c", "\u200d", "\ufe00", "\ufe0f", "\ufeff", "\U000e0101", "x"]
)
@pytest.mark.parametrize("after", ["", "a", "\u0915", "\U0001f469", "\ufe0f", "\u200d"])
def test_hidden_characters_go_where_no_emoji_and_no_spelling_needs_them(
    before: str, hidden: str, after: str
) -> None:
    emoji, spelt = (
        "[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff]",
        "[\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff]",
    )
    text = f"{before}{hidden}{after}"
    left = ""
    for index, char in enumerate(text):
        last, following = text[:index][-1:], text[index + 1 : index + 2]
        needed = re.match(f"{emoji}|{spelt}", following) and re.match(f"{emoji}|{spelt}|\ufe0f", last)
        if char in "\u00ad\u200b\ufeff\U000e0101":
            continue
        if char in "\u200c\u200d" and not needed:
            continue
        if char in "\ufe00\ufe0f" and not re.match(f"{emoji}|[#*0-9]", last):
            continue
        left += char
    assert sanitizer._STRIPPED["zero-width"].sub("", text) == left
