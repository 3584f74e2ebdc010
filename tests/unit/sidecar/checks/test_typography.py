"""Typographic hyphens, full-width and invisible characters hide neither personal data nor secrets, streamed or not."""

# ruff: noqa: RUF001 - look-alike characters are what is tested
from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.checks import Canary, Pii, Secrets
from sidecar.checks import typography
from sidecar.checks.base import SpanCheck
from sidecar.checks.content import apply_edits
from sidecar.checks.detectors import canary, pii, secrets
from sidecar.checks.pipe import _Stage
from sidecar.checks.typography import plain
from sidecar.formats.base import TextPart

PII = pii.build(Pii())
SECRETS = secrets.build(Secrets(action="redact"))
CANARY = canary.build(Canary(tokens=("CANARY-7f3a9c",), action="redact"))
HIDDEN = [
    (CANARY, "CANARY\u20117f3a9c", "[REDACTED]"),
    (CANARY, "ＣＡＮＡＲＹ–7f３a9c", "[REDACTED]"),
    (CANARY, "／＿／／CANARY-7f3a9c", "／＿／／[REDACTED]"),
    (PII, "4111\u20111111\u20111111\u20111111", "[CARD]"),
    (PII, "4111\u20131111\u20131111\u20131111", "[CARD]"),
    (PII, "4111\u20141111\u20141111\u20141111", "[CARD]"),
    (PII, "4111  1111  1111  1111", "[CARD]"),
    (PII, "4111.1111.1111.1111", "[CARD]"),
    (PII, "4111\u200b1111\u200b1111\u200b1111", "[CARD]"),
    (PII, "4１11 1111 1111 １１１１", "[CARD]"),
    (PII, "٤١١١ ١١١١ ١١١١ ١١١١", "[CARD]"),
    (PII, "+1\u2011415\u2011555\u20110132", "[PHONE]"),
    (PII, "DE89\u20113704\u20110044\u20110532\u20110130\u201100", "[IBAN]"),
    (PII, "GB82\u2011WEST\u20111234\u20115698\u20117654\u201132", "[IBAN]"),
    (PII, "joe@exam\u200bple.com", "[EMAIL]"),
    (PII, "joe＠example．com", "[EMAIL]"),
    (PII, "j\u2060o\u2060e@example.com", "[EMAIL]"),
    (SECRETS, "AKIA\u200bIOSFODNN7QXZMPLE", "[SECRET]"),
    (SECRETS, "ＡＫＩＡIOSFODNN7QXZMPLE", "[SECRET]"),
    (SECRETS, "AKIA\ufeff\u200b\u200dIOSFODNN7QXZMPLE", "[SECRET]"),
    (SECRETS, "AKIA\U000e0061IOSFODNN7QXZMPLE", "[SECRET]"),
    (SECRETS, "AKIA\x00IOSFODNN7QXZMPLE", "[SECRET]"),
    (SECRETS, "A\x00KIAIOSFODNN7QXZMPLE", "[SECRET]"),
    (PII, "jo\x01e@example.com", "[EMAIL]"),
    (PII, "DE8\x029 3704 0044 0532 0130 00", "[IBAN]"),
    (PII, "joe@exam\ufe0fple.com", "[EMAIL]"),
    (PII, "joe@exam\x7fple.com", "[EMAIL]"),
    (PII, "joe@exam\x1c\x92ple.com", "[EMAIL]"),
    (PII, "4111\u31641111\u28001111\U000e01001111", "[CARD]"),
    (CANARY, "CA\ufe0eNA\U000e0041RY-7\u2066f3a9c", "[REDACTED]"),
    (CANARY, "\x01".join("CANARY-7f3a9c"), "[REDACTED]"),
    (CANARY, "C+A=N(A)R<Y>-7~f{3}a%9&c", "[REDACTED]"),
    (CANARY, "C\U0001f600ANA\u00b7RY 7f3a9c", "[REDACTED]"),
]


@pytest.mark.parametrize(("check", "written", "left"), HIDDEN)
def test_typography_hides_nothing(check: SpanCheck, written: str, left: str) -> None:
    text = f"it is {written} ok"
    made = check.inspect(TextPart(location="x", text=text))
    assert apply_edits(text, made.edits) == f"it is {left} ok"


@pytest.mark.parametrize(("check", "written", "left"), HIDDEN)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_typography_hides_nothing_in_a_stream(check: SpanCheck, written: str, left: str, size: int) -> None:
    text = f"it is {written} ok"
    stage = _Stage(check, passive=False)
    out = "".join(stage.feed(text[at : at + size], end=False)[0] for at in range(0, len(text), size))
    assert out + stage.feed("", end=True)[0] == f"it is {left} ok"


@pytest.mark.parametrize(
    "text",
    [
        "0.4111111111111111 and 12.4111111111111111",
        "the years 2019–2020",
        "a — b",
        "4111 1111 1111 1112",
        "4111\u200b\u200b\u200b\u200b1111 1111 1111",
    ],
)
def test_what_is_no_card_stays(text: str) -> None:
    assert PII.matches(text) == []


def test_no_character_that_nobody_sees_hides_anything() -> None:
    """Those that Unicode marks so, controls, and fillers that are drawn as nothing."""
    unseen = [
        char
        for char in map(chr, range(0xE01F0))
        if unicodedata.category(char) in ("Cc", "Cf") and not char.isspace()
    ]
    unseen += "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0\ufff0\ufff8"
    unseen += [chr(code) for code in (*range(0xFE00, 0xFE10), 0xE0000, *range(0xE0100, 0xE01F0))]
    shown = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    for char in sorted({*unseen} - {*shown}):
        for check, text in (
            (CANARY, "CANARY-7f3a9c"),
            (SECRETS, "AKIAIOSFODNN7QXZMPLE"),
            (PII, "joe@example.com"),
        ):
            assert check.matches(f"{text[:7]}{char}{text[7:]}"), hex(ord(char))


@pytest.mark.parametrize("before", ["", ".", ",", "..", "x."])
def test_a_card_is_found_at_the_beginning_of_a_text_that_ends_with_it(before: str) -> None:
    assert [match.kind for match in PII.matches(f"{before}4111 1111 1111 1111")] == ["card"]


@given(st.text(st.sampled_from("a4A1 -–\u2011\u200b\ufeff４＠.é猫"), max_size=40))
def test_every_character_of_a_plain_text_leads_back_to_where_it_stood(text: str) -> None:
    read = plain(text)
    places = range(len(text)) if read.places is None else read.places
    assert len(places) == len(read.text)
    for made, place in zip(read.text, places, strict=True):
        assert made == text[place] or made in "-4@"


def test_digits_of_every_script_are_known() -> None:
    digits = {code for code in range(0x80, sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"}
    assert digits == typography._DIGITS.keys()


def test_signs_that_nobody_sees_hold_back_no_more_than_the_longest_match() -> None:
    check = pii.build(Pii())
    text = "jane@example.org" * 40 + "FP32\x05"
    assert check.settled(text) > len(text) - check.max_match
