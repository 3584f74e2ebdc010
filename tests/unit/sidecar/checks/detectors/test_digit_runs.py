"""Numbers that are looked for in runs of digits alone are those that a look at the whole text finds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.checks.detectors import pii_numbers, pii_phones
from sidecar.checks.detectors.digit_runs import digit_runs, has_digit_run
from sidecar.checks.detectors.national_forms import NATIONAL_IDS, SSN
from sidecar.checks.detectors.pii_forms import Form, Forms
from sidecar.checks.detectors.pii_places import PLACES

FORMS = [form for form in (*SSN, *NATIONAL_IDS, *PLACES) if form.in_run]
RUN = re.compile("[0-9](?:[^0-9]{0,3}[0-9]){5,}")
KNOWN = pii_phones.notations()
NUMBERS = (
    "4111 1111 1111 1111",
    "4111.1111.1111.1111",
    "378282246310005",
    "+49 30 901820",
    "(+ 44) 20 7946 0958",
    "tel: 415-555-0132",
    "030 / 901820-15",
    "DE89 3704 0044 0532 0130 00",
    "GB82 WEST 1234 5698 7654 32",
    "NL91ABNA0417164300",
    "123-45-6789",
    "12345678-Z",
    "1 84 12 2A 451 089 46",
    "card 6304 9876 5432 1098",
)
PARTS = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(NUMBERS).flatmap(
        lambda number: st.integers(1, len(number)).map(lambda end: number[:end])
    ),
    st.text("0123456789", max_size=7),
    st.sampled_from(
        [" ", "  ", "-", ".", "/", "(", "+", "(+", "a", "Z", "\u00e9", "\n", " and ", "DE", "tel "]
    ),
)
TEXTS = st.lists(PARTS, max_size=12).map("".join)


@given(st.text("0a \u00e9\u0661", max_size=40), st.integers(0, 8))
@example("0" * 5 + "    " + "0" * 6, 0)
@example("0   0   0   0   0   0", 0)
def test_runs_are_six_digits_and_more_close_together(text: str, start: int) -> None:
    assert digit_runs(text, start) == [run.span() for run in RUN.finditer(text, start)]
    assert has_digit_run(text, start) == bool(digit_runs(text, start))


@given(TEXTS, st.integers(0, 12))
@example("(+ 44 20 7946 0958", 0)
@example("1234567 and 4111 1111 1111 1111", 0)
def test_cards_and_phones_are_those_of_the_whole_text(text: str, start: int) -> None:
    whole = [(start, len(text))]
    for kind in ("card", "phone"):
        found = pii_numbers.find(text, start, (kind,), KNOWN, digit_runs(text, start))
        assert found == pii_numbers.find(text, start, (kind,), KNOWN, whole)


@given(TEXTS, st.integers(0, 12))
def test_accounts_begin_where_the_signs_of_an_open_one_are(text: str, start: int) -> None:
    heads = [head.start() - 2 for head in pii_numbers._IBAN.finditer(text, start + 2)]
    every = [head.end() - 4 for head in pii_numbers._IBAN_HEAD.finditer(text.encode("ascii", "replace"))]
    assert [first for first in every if first >= start] == heads


ENDS = st.sampled_from(["", " ", ",5 ", ".", " Z ", "-K\n"])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.rule)
def test_forms_of_digits_are_found_in_their_runs(form: Form) -> None:
    forms = Forms([replace(form, valid=None, announced=None)])
    parts = st.one_of(st.from_regex(form.sign, fullmatch=True), PARTS)

    @example("12345678-Zx")
    @settings(max_examples=40)
    @given(st.lists(st.tuples(parts, ENDS).map("".join), max_size=5).map("".join))
    def in_runs(text: str) -> None:
        assert list(forms.find(text, 0, digit_runs(text))) == list(forms.find(text, 0, [(0, len(text))]))

    in_runs()
