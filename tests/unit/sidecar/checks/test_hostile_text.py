"""Work on hostile text is bounded, and what is not judged counts as a hit: counted in calls, not in time."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from bartizan.policy.checks import Canary, Pii, Secrets
from sidecar.checks.base import Inspection, SpanCheck
from sidecar.checks.content import apply_edits
from sidecar.checks.detectors import canary, pii, secrets
from sidecar.checks.detectors.secret_rules import RULES
from sidecar.checks.spans import TOO_MANY
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

SIZE = 200 * 1024
CALLS_PER_CHAR = 4
SHAPES = [
    *sorted({rule.hint for rule in RULES}),
    "https://",
    "https://a:bbb ",
    "aws secret ",
    "eyJ-",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n",
    "1 ",
    "4 ",
    "4111 ",
    "4111-",
    "12-34 ",
    "1 22 333 4444 55555 ",
    "+49 30 123 ",
    "tel 123456 ",
    "00 49 ",
    "(0",
    "030 123 45 67 8 ",
    "212-555-0123 ",
    "DE44 ",
    "GB82 1234 1234 1234 1234 12 ",
    "@",
    "a@b.de ",
    "1.",
]
CHECKS: list[SpanCheck] = [
    secrets.build(Secrets(action="redact")),
    pii.build(Pii()),
    canary.build(Canary(tokens=("canary-7f3a9c21", "aaaaaaaaaaab"), action="redact")),
]


def filled(shape: str, size: int = SIZE) -> str:
    return (shape * (size // len(shape) + 1))[:size]


def calls(check: SpanCheck, text: str) -> int:
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        check.matches(text)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_text_makes_more_work_than_its_length_allows(check: SpanCheck, shape: str) -> None:
    assert calls(check, filled(shape)) <= CALLS_PER_CHAR * SIZE


def kinds(found: Inspection) -> set[str]:
    return {finding.kind for finding in found.findings}


@pytest.mark.parametrize(
    ("check", "shape"),
    [
        (secrets.build(Secrets(action="redact")), "x://"),
        (pii.build(Pii(types=("card",))), "4111 "),
        (pii.build(Pii(types=("phone",))), "00 49 1 "),
        (pii.build(Pii(types=("iban",))), "DE44 1234 1234 123 "),
        (pii.build(Pii(types=("email",))), "@"),
    ],
)
def test_a_text_too_dense_to_judge_is_a_hit_whose_end_is_redacted(check: SpanCheck, shape: str) -> None:
    planted = "jane@example.org 4111 1111 1111 1111 AKIAQ3EGRIJ7SNNH2LKP +49 30 1234567"
    text = filled(shape) + " " + planted
    found = check.inspect(TextPart(location="x", text=text))
    assert TOO_MANY in kinds(found)
    assert {finding.action for finding in found.findings} == {Action.REDACT}
    assert planted not in apply_edits(text, found.edits)


def test_phone_numbers_beyond_those_judged_are_taken_for_phones() -> None:
    check = pii.build(Pii(types=("phone",)))
    text = "\n".join(f"call {number:03} 030 90{number:05}" for number in range(400))
    found = check.inspect(TextPart(location="x", text=text))
    left = apply_edits(text, found.edits)
    assert "030 9" not in left
    assert TOO_MANY in kinds(found)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"see https://docs.example.org/{number}/page.html" for number in range(5000)),
        " ".join(str(number * 7919 % 10007) for number in range(20_000)),
        "\n".join(
            f"2024-05-{1 + number % 28:02} 10:{number % 60:02}:33,012 INFO {number}" for number in range(5000)
        ),
    ],
    ids=["links", "numbers", "log"],
)
def test_long_honest_texts_are_not_called_too_dense(text: str) -> None:
    for check in CHECKS:
        assert TOO_MANY not in kinds(check.inspect(TextPart(location="x", text=text)))
