"""Personal data by form: true numbers of every country, the same with one digit changed, and what only looks alike."""

# ruff: noqa: RUF001 - quotation marks and primes as people write them
from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Pii, PiiType
from sidecar.checks.detectors import pii, pii_validity
from sidecar.checks.detectors.national_forms import NATIONAL_IDS, SSN
from sidecar.checks.detectors.pii_places import PLACES
from sidecar.checks.detectors.pii_replacement import masked

ALL = pii.build(Pii(types=get_args(PiiType)))

NUMBERS = {
    "es/dni": "12345678Z",
    "es/nie": "X1234567L",
    "it/codice-fiscale": "RSSMRA85T10A562S",
    "fr/nir": "1 84 12 76 451 089 46",
    "de/idnr": "Steuer-ID: 86095742719",
    "nl/bsn": "BSN 111222333",
    "be/nn": "85.07.30-033.28",
    "be/nn-plain": "rijksregisternummer 85073003328",
    "pl/pesel": "PESEL 44051401359",
    "gb/nhs": "NHS number: 943 476 5919",
    "gb/nino": "AB 12 34 56 C",
    "se/personnummer": "811218-9876",
    "fi/hetu": "131052-308T",
    "dk/cpr": "CPR-nr 211062-5629",
    "no/fodselsnummer": "151086 95088",
    "ch/ahv": "756.9217.0769.85",
    "at/svnr": "SVNR 1237 010180",
    "pt/nif": "NIF 501964843",
    "cz-sk/rodne-cislo": "710319/2745",
    "ro/cnp": "CNP 1630615123457",
    "bg/egn": "EGN 7523169263",
    "ee-lt/isikukood": "isikukood 36805280109",
    "gr/amka": "AMKA 01013099997",
    "ie/pps": "PPS number 6433435F",
    "br/cpf": "390.533.447-05",
    "br/cpf-plain": "cpf 39053344705",
    "cl/rut": "12.531.909-2",
    "ar/cuil": "20-05536168-2",
    "mx/curp": "BOXW310820HNERXN09",
    "in/aadhaar": "Aadhaar 2341 2341 2346",
    "cn/resident": "11010519491231002X",
    "kr/rrn": "971013-9019902",
    "sg/nric": "S1234567D",
    "tr/tckn": "TC kimlik no 17291716060",
    "za/id": "South African ID number 7503305044089",
    "il/tz": "Israeli ID 039337423",
    "ca/sin": "SIN: 123-456-782",
    "au/tfn": "tax file number 123 456 782",
    "jp/my-number": "my number 6214 9832 0257",
    "tw/id": "identity number A123456789",
    "ssn/dashed": "536-90-4399",
    "ssn/announced": "Social Security Number: 536904399",
    "card/announced": "my card 3522235032377454",
    "ip/v4": "8.8.8.8",
    "ip/v6": "2606:4700:4700::1111",
    "mac/eui-48": "00:1B:44:11:3A:B7",
    "crypto/base58": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "crypto/bech32": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "crypto/ethereum": "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
    "passport/announced": "Passport number: C01X00T47",
    "driving-licence/announced": "My driver's license number is F162823540116",
    "birth-date/announced": "She was born on 10/23/1951",
    "address/number-first": "1600 Pennsylvania Avenue NW",
    "address/french": "36 rue de Pologne",
    "address/german": "Hauptstraße 12",
    "address/romance": "Via Roma 131",
    "address/post-box": "PO Box 1234",
    "coordinates/decimal": "52.520008, 13.404954",
    "coordinates/degrees": "52°31′12″N 13°24′18″E",
}


def rules(text: str) -> set[str]:
    return {match.rule for match in ALL.matches(text)}


@pytest.mark.parametrize("rule", NUMBERS)
def test_a_true_one_is_found_in_a_sentence(rule: str) -> None:
    assert rule in rules(f"Note: {NUMBERS[rule]}, thanks.")


def test_every_form_has_a_true_one_here() -> None:
    assert set(NUMBERS) == {form.rule for form in (*SSN, *NATIONAL_IDS, *PLACES)}


def test_fifteen_countries_and_more_have_check_digits() -> None:
    checked = {form.rule.split("/")[0] for form in NATIONAL_IDS if form.valid is not None}
    assert len(checked) >= 30


WITH_CHECK_DIGIT = [
    rule
    for rule in NUMBERS
    if rule
    in {form.rule for form in NATIONAL_IDS} - {"gb/nino", "dk/cpr", "tw/id", "ie/pps", "es/dni", "es/nie"}
]


@pytest.mark.parametrize("rule", WITH_CHECK_DIGIT)
def test_with_another_last_digit_it_is_none(rule: str) -> None:
    written = NUMBERS[rule]
    at = max(place for place, char in enumerate(written) if char.isdigit())
    wrong = [
        other
        for other in "0123456789"
        if other != written[at]
        and rule not in rules(f"Note: {written[:at]}{other}{written[at + 1 :]}, thanks.")
    ]
    assert len(wrong) >= 8, wrong


@pytest.mark.parametrize(
    "text",
    [
        "order 86095742719 of 11 digits, 111222333 and 44051401359",
        "version 1.2.3.4, v10.20.30.40, 192.168.0.1, 127.0.0.1, 10.0.0.7 and 300.1.2.3",
        "at 12:30:45 or 10:20, ratio 3:4:5",
        "ff:ff:ff:ff:ff:ff and 00-00-00-00-00-00",
        "passport control is on the left; renew your passport by 2030",
        "The licence costs 120 euros. Published on 10/23/1951.",
        "000-12-3456, 666-12-3456, 912-34-5678, 123-00-4567, 123-45-0000, 1123-45-6789, 123-45-67890",
        "a ratio of 0.52520008 and 13.4, prices 12.50, 13.99",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb and 0x1234",
        "I walked 12 miles on a Street of Philadelphia in 5 Days",
        "550e8400-e29b-41d4-a716-446655440000 and d41d8cd98f00b204e9800998ecf8427e",
        "2024-01-15T12:33:11Z, 20240115, +1.5, 1,234,567.89",
    ],
)
def test_what_only_looks_alike_is_none(text: str) -> None:
    assert not {match.kind for match in ALL.matches(text)} - {"phone"}


def test_only_the_chosen_types_are_looked_for() -> None:
    text = ", ".join(NUMBERS.values())
    for kind in get_args(PiiType):
        check = pii.build(Pii(types=(kind,)))
        assert {match.kind for match in check.matches(text)} <= {kind}


@settings(deadline=None)
@given(st.from_regex(r"[0-9A-Z][0-9A-Za-z .\-/:+]{0,40}[0-9A-Z]", fullmatch=True))
def test_no_number_whatever_its_form_makes_a_check_fail(text: str) -> None:
    for words in ("", "tax id tin passport born ", "my number, identity number "):
        ALL.matches(f"{words}{text}")


@pytest.mark.parametrize(
    ("written", "valid"),
    [
        ("1951-10-23", True),
        ("31.12.99", True),
        ("12 March 1985", True),
        ("99/99/1999", False),
        ("1/2/3456", False),
    ],
)
def test_a_date_of_birth_is_a_day(written: str, valid: bool) -> None:
    assert pii_validity.birthday(written) == valid


def test_allowed_text_is_no_finding_in_any_case_and_hides_nothing_beside_it() -> None:
    check = pii.build(Pii(allow=("@Help.example", "4111 1111 1111 1111")))
    text = "JANE@help.example, jane@a.example, 4111 1111 1111 1111, 5555555555554444"
    assert [text[match.start : match.end] for match in check.matches(text)] == [
        "jane@a.example",
        "5555555555554444",
    ]


@pytest.mark.parametrize(
    ("kind", "found", "left"),
    [
        ("email", "jane.roe@a.example", "j***@a.example"),
        ("card", "4111 1111 1111 1234", "**** **** **** 1234"),
        ("iban", "GB82 WEST 1234 5698 7654 32", "**** **** **** **** **54 32"),
        ("ssn", "536-90-4399", "***-**-4399"),
        ("ip", "8.8.8.8", "*.*.*.*"),
        ("address", "Hauptstraße 12", "*********** **"),
        ("phone", "555-123", "***-***"),
    ],
)
def test_a_mask_leaves_what_people_tell_numbers_by(kind: str, found: str, left: str) -> None:
    assert masked(kind, found) == left
