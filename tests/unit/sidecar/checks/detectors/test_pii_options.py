"""What a policy may say of personal data beyond its types: regions, words, what is allowed, what takes its place."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import get_args

import pytest

from bartizan.policy.checks import Pii, PiiType
from sidecar.checks.base import BoundCheck
from sidecar.checks.content import apply_edits
from sidecar.checks.detectors import pii
from sidecar.checks.detectors.pii_replacement import Pseudonyms
from sidecar.checks.scope import Scope
from sidecar.checks.tokens import MOST, Tokens
from sidecar.formats.base import TextPart

CARD, EMAIL = "4111 1111 1111 1111", "jane@example.org"
KEYS: Mapping[str, bytes] = {"file:a.key": b"a" * 32, "file:b.key": b"b" * 32}


def left(config: Pii, text: str, scope: Scope | None = None) -> str:
    check = pii.build(config)
    bound = check.bound(scope) if scope and isinstance(check, pii.PiiCheck) else check
    return apply_edits(text, bound.inspect(TextPart(location="x", text=text)).edits)


@pytest.mark.parametrize(
    ("regions", "types", "text", "found"),
    [
        ((), ("national_id",), "DNI 12345678Z and 756.9217.0769.85", "DNI [NATIONAL_ID] and [NATIONAL_ID]"),
        (
            ("ES",),
            ("national_id",),
            "DNI 12345678Z and 756.9217.0769.85",
            "DNI [NATIONAL_ID] and 756.9217.0769.85",
        ),
        (("SK",), ("national_id",), "710319/2745", "[NATIONAL_ID]"),
        (("CZ",), ("national_id",), "710319/2745", "[NATIONAL_ID]"),
        (("PL",), ("national_id",), "710319/2745", "710319/2745"),
        ((), ("phone",), "(415) 555-2671, 0171 2345678", "[PHONE], [PHONE]"),
        (("DE",), ("phone",), "(415) 555-2671, 0171 2345678", "(415) 555-2671, [PHONE]"),
        (("CA",), ("phone",), "(416) 555-2671, 0171 2345678", "[PHONE], 0171 2345678"),
        (("US",), ("phone",), "tel 22 123 45 67", "tel 22 123 45 67"),
        (("ZA", "PL"), ("phone",), "tel 22 123 45 67", "tel [PHONE]"),
        (("DE",), ("phone",), "+1-415-555-2671", "[PHONE]"),  # a country code needs no region
    ],
)
def test_regions_choose_whose_numbers_count(
    regions: tuple[str, ...], types: tuple[PiiType, ...], text: str, found: str
) -> None:
    assert left(Pii(types=types, regions=regions), text) == found


@pytest.mark.parametrize(
    ("kind", "word", "text", "mark"),
    [
        ("passport", "Reisedok-Nr", "Reisedok-Nr C01X00T47", "[PASSPORT]"),
        ("national_id", "Versichertennr.", "Versichertennr. 86095742719", "[NATIONAL_ID]"),
        ("driving_licence", "permit (b)", "Permit (B): F162823540116", "[DRIVING_LICENCE]"),
        ("birth_date", "nació", "nació 23/10/1951", "[BIRTH_DATE]"),
        ("ssn", "benefit number", "benefit number 536904399", "[SSN]"),
        ("card", "PAN", "PAN 3522235032377454", "[CARD]"),
        ("phone", "Rufnummer", "Rufnummer 1712345678", "[PHONE]"),
    ],
)
def test_own_words_announce_a_number_as_known_ones_do(kind: PiiType, word: str, text: str, mark: str) -> None:
    number = text[len(word) :].lstrip(": ")
    assert left(Pii(types=(kind,)), text) == text
    assert left(Pii(types=(kind,), context={kind: (word,)}), text) == text.replace(number, mark)  # type: ignore[dict-item]
    assert left(Pii(types=(kind,), context={kind: (word,)}), f"x{word}x {number}") == f"x{word}x {number}"  # type: ignore[dict-item]


def test_what_a_pattern_matches_whole_is_no_finding() -> None:
    config = Pii(allow_patterns=(r"[a-z]+@(help|docs)\.example", r"4111.*"))
    text = f"a@help.example b@docs.example c@help.example.org {CARD} 5555555555554444"
    assert left(config, text) == f"a@help.example b@docs.example [EMAIL] {CARD} [CARD]"


def test_pseudonyms_are_the_same_for_one_value_of_a_tenant_however_it_is_written() -> None:
    def of(text: str, tenant: str = "acme", key: str = "file:a.key") -> list[str]:
        scope = Scope(tenant=tenant, keys=KEYS)
        return re.findall(
            r"\[[A-Z]+:[a-z2-7]{18}\]", left(Pii(replacement="pseudonym", key=key), text, scope)
        )

    one, two, other = of(f"{EMAIL}, Jane@Example.org, joe@example.org")
    assert one == two != other
    (card, same) = of(f"{CARD} 4111111111111111")
    assert card == same
    assert card.startswith("[CARD:")
    assert of(EMAIL) == [one]
    assert of(EMAIL, tenant="globex") != [one]
    (renewed,) = of(EMAIL, key="file:b.key")
    assert renewed[7:9] != one[7:9], "two keys are told apart"
    (theirs,) = of(EMAIL, tenant="globex")
    assert theirs[7:9] == one[7:9]


def test_a_pseudonym_is_the_documented_function_of_key_tenant_kind_and_value() -> None:
    key = b"k" * 32
    own = hmac.digest(key, b"bartizan pseudonym\0acme", "sha256")
    made = base64.b32encode(hmac.digest(own, b"phone\0" + b"491711234567", "sha256")).decode().lower()[:16]
    mark = base64.b32encode(hashlib.sha256(b"bartizan pseudonym key\0" + key).digest()).decode().lower()[:2]
    assert Pseudonyms(key, "acme")("phone", "+49 171 1234567") == f"[PHONE:{mark}{made}]"


def test_a_pseudonym_is_no_finding_itself_where_a_text_is_looked_at_again() -> None:
    scope = Scope(tenant="acme", keys=KEYS)
    config = Pii(types=get_args(PiiType), replacement="pseudonym", key="file:a.key")
    once = left(config, " ".join(f"Passport number: C01X{number:05}." for number in range(300)), scope)
    assert len(set(re.findall(r"\[PASSPORT:[a-z2-7]{18}\]", once))) == 300
    assert left(config, once, scope) == once
    assert left(Pii(types=get_args(PiiType)), once) == once
    assert left(Pii(types=("passport",)), "passport: AB1234567]") == "passport: [PASSPORT]]"


@pytest.mark.parametrize("word", ["X", "EMAIL", "ACCOUNT"])
def test_a_value_that_looks_like_a_pseudonyms_signs_is_found_behind_another_word(word: str) -> None:
    iban = next(
        made
        for check in ("25", "26", "27", *(f"{a}{b}" for a in "34567" for b in "234567"))
        for last in "234567"
        if left(Pii(types=("iban",)), made := f"nl{check}abna234567234{last}") == "[IBAN]"
    )
    assert left(Pii(types=("iban",)), f"see [{word}:{iban}]") == f"see [{word}:[IBAN]]"


def test_tokens_stand_for_one_value_each_and_go_back_to_what_was_written() -> None:
    scope = Scope()
    assert left(Pii(replacement="token"), f"{EMAIL} {CARD} {EMAIL} Jane@example.org", scope) == (
        "<EMAIL_1> <CARD_1> <EMAIL_1> <EMAIL_2>"
    )
    assert [scope.tokens.said(token) for token in ("<EMAIL_1>", "<CARD_1>", "<EMAIL_2>", "<EMAIL_3>")] == [
        EMAIL,
        CARD,
        "Jane@example.org",
        None,
    ]
    assert EMAIL not in repr(scope)


def test_too_many_values_get_a_placeholder_that_stays() -> None:
    tokens = Tokens()
    for number in range(MOST):
        assert tokens.token("email", str(number))
    assert tokens.token("email", "one more") == ""
    assert tokens.token("email", "7") == "<EMAIL_8>"
    scope = Scope(tokens=tokens)
    assert left(Pii(replacement="token"), EMAIL, scope) == "[EMAIL]"


@pytest.mark.parametrize("replacement", ["token", "pseudonym"])
def test_what_is_bound_to_no_exchange_is_replaced_for_good(replacement: str) -> None:
    config = Pii(replacement=replacement, key="file:a.key")  # type: ignore[arg-type]
    assert left(config, EMAIL) == "[EMAIL]"
    check = pii.build(config)
    assert isinstance(check, pii.PiiCheck)
    bindable: BoundCheck = check
    assert bindable.binds


@pytest.mark.parametrize("config", [Pii(regions=("XX",)), Pii(allow_patterns=("(a",))])
def test_what_could_never_be_used_is_refused_when_it_is_built(config: Pii) -> None:
    with pytest.raises(ValueError, match=r"region|regular expression"):
        pii.build(config)
