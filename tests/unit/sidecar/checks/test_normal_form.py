"""Normal forms of hostile text: what languages write is as Unicode says, longer runs of marks are cut."""

from __future__ import annotations

import sys
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.checks import Sanitize
from sidecar.checks import normal_form as marks
from sidecar.checks import views
from sidecar.checks.content import apply_edits
from sidecar.checks.normal_form import MAX_MARKS, normal_form
from sidecar.checks.sanitizers import unicode as sanitizer
from sidecar.formats.base import TextPart

ORDERED = [
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.combining(unicodedata.normalize("NFKD", char)[0])
]
MANY = 200_000
"""Their order in one run takes hours."""
HOSTILE = {
    "two kinds of marks": "a" + "\u0301" * MANY + "\u0327" * MANY,
    "marks made of marks": "\u0f73" * MANY,
    "marks that only hidden characters part": "a" + ("\u0301" * 20 + "\u200b") * 10_000 + "\u0327" * MANY,
}


@given(st.text(max_size=40), st.sampled_from(["NFC", "NFD", "NFKC"]))
def test_a_text_without_long_runs_gets_its_normal_form(
    text: str, form: Literal["NFC", "NFD", "NFKC"]
) -> None:
    assert normal_form(form, text[:MAX_MARKS]) == unicodedata.normalize(form, text[:MAX_MARKS])


def test_every_mark_counts_wherever_unicode_has_it() -> None:
    for mark in ORDERED:
        cut = normal_form("NFD", "x" + mark * 100)
        assert cut == unicodedata.normalize("NFD", "x" + mark * MAX_MARKS)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_long_runs_are_cut_for_checks_and_for_the_model(text: str) -> None:
    assert len(views.folded(views.plain(text))) <= 2 * MAX_MARKS
    edits = sanitizer.build(Sanitize()).inspect(TextPart(location="x", text=text)).edits
    assert len(apply_edits(text, edits)) <= 3 * MAX_MARKS


def test_every_character_that_is_put_in_order_is_known() -> None:
    ordered = {
        char
        for char in map(chr, range(0x110000))
        if unicodedata.combining(unicodedata.normalize("NFKD", char)[0])
    }
    assert ordered == set(marks._MARKS)
