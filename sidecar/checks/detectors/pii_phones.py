"""Phone numbers: with a country code anywhere, in the notation of some regions, or after a word that announces one.

Pure, for detectors/pii_numbers.py. libphonenumber judges what has no country code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import phonenumbers

from sidecar.checks.base import Match
from sidecar.checks.detectors.digit_runs import BEHIND, Runs
from sidecar.checks.spans import TOO_MANY, Allowance

DEFAULT_REGIONS = ("US", "GB", "DE", "FR", "AT", "CH", "IT", "NL", "ES")
"""Whose national notation counts without a country code, where a policy names no regions."""

CONTEXT = 48
"""Characters before a number that decide about it: its boundary, or a word that announces it."""
LONGEST = 52
MAX_PHONE_CHECKS = 64
"""Candidates that libphonenumber judges per text; of later ones those with a country code count unchecked, and the
others as candidates that nobody judged."""
_CHARS_PER_CANDIDATE = 128
# Only what _regions may call a number is looked at: with + or 0, written as in North America, or after a word.
_PHONE = re.compile(
    r"[+(0-9](?<![\w+.,/#\-].)"
    r"(?:(?<=[+(0])|(?<=1)(?=[ .\-]\(?[2-9])|(?<=[2-9])(?=[0-9]{2}[ .\-][2-9])"
    r"|(?<=[^\W\d_][ .:=(#][0-9])|(?<=[^\W\d_][ .:=(#]{2}[0-9])|(?<=[^\W\d_][ .:=(#]{3}[0-9])"
    r"|(?<=[^\W\d_][ .:=(#]{4}[0-9]))"
    r"(?:(?<=[+(])\+? ?[0-9]|(?<=[0-9]))"
    r"(?:[ ().\-/\u00a0\u2009\u202f]{0,2}[0-9]){5,15}(?![\w@]|[.,\-/][0-9])"
)
_LEAD = 3
"""Signs before the first digit at most: "(+ "."""
_ANNOUNCED = re.compile(
    r"(?i)(?:phone|tel|telephone|telefon|t[ée]l[ée]phone|tel[ée]fono|mobile|mobil|handy|cell|call|fax|sms|whatsapp|ring)"
    r"(?: (?:number|no|nr|me|us|at|on|is|my))*[ .:=(#]{0,4}\Z"
)
_AFTER_WORD = " .:=(#"
_PHONE_MIN = 7
_GROUP_END = re.compile(r"[0-9](?![0-9])")
_FIRST_GROUP = re.compile(r"[^0-9]*[0-9]+")
_SEPARATED = re.compile(r"[0-9][ ()\-/]+[0-9]")
_NINE_DIGITS = re.compile(r"(?:[^0-9]*[0-9]){9}")
"""Fewer, after a trunk zero, are as often a date."""
_NOT_DIGIT = re.compile(r"[^0-9]")
_NANP = re.compile(r"(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}")


@dataclass(frozen=True, slots=True)
class Notations:
    """Whose ways to write a phone number without a country code count, and which words announce one."""

    regions: tuple[str, ...]
    trunk: tuple[str, ...]
    """Those that may write a zero before the area code."""
    american: tuple[str, ...]
    announced: re.Pattern[str]


def notations(regions: Sequence[str] = (), words: Sequence[str] = ()) -> Notations:
    """For these regions (none: DEFAULT_REGIONS) and these words beside the known ones. Raises ValueError for a region
    that gives out no numbers.
    """
    chosen = tuple(regions) or DEFAULT_REGIONS
    if strange := [region for region in chosen if region not in phonenumbers.SUPPORTED_REGIONS]:
        raise ValueError(f"no such region: {strange[0]}")
    american = tuple(region for region in chosen if phonenumbers.country_code_for_region(region) == 1)
    announced = _ANNOUNCED
    if words:
        own = "|".join(re.escape(word) for word in words)
        announced = re.compile(rf"{_ANNOUNCED.pattern}|(?<![^\W_])(?:{own})[ .:=(#]{{0,4}}\Z")
    return Notations(
        chosen, tuple(region for region in chosen if region not in american), american[:1], announced
    )


def find(text: str, start: int, known: Notations, runs: Runs) -> Iterator[Match]:
    """Every group of digits may begin a number; of its possible ends the longest that is valid counts."""
    allowance = Allowance(text, _CHARS_PER_CANDIDATE)
    checks = 0
    for begin, end in runs:
        at = max(start, begin - _LEAD)
        while candidate := _PHONE.search(text, at, end + BEHIND):
            written = candidate.group()
            first = candidate.start()
            head = text[max(0, first - CONTEXT) : first]
            if not allowance.spend():
                yield Match(start=first, end=len(text), kind=TOO_MANY, replacement="[PHONE]")
                return
            regions = _regions(written, head, known)
            length, kind = 0, "phone"
            if regions and regions != (None,) and checks >= MAX_PHONE_CHECKS:
                length, kind = len(written), TOO_MANY
            elif regions and checks < MAX_PHONE_CHECKS:
                checks += 1
                length = _valid_length(written, regions)
            elif regions == (None,):
                length = len(written)
            if length:
                yield Match(start=first, end=first + length, kind=kind, replacement="[PHONE]")
                at = first + length
            else:
                group = _FIRST_GROUP.match(written)
                at = first + (group.end() if group else 1)


def _valid_length(written: str, regions: tuple[str | None, ...]) -> int:
    """Of the longest number that this begins with, 0 without one."""
    ends = [group.end() for group in _GROUP_END.finditer(written) if group.end() >= _PHONE_MIN][-4:]
    return next((end for end in reversed(ends) if _valid(written[:end], regions)), 0)


def _regions(written: str, head: str, known: Notations) -> tuple[str | None, ...]:
    """By whose rules this may be a number: none without a country code unless announced or written like one."""
    if written.startswith(("+", "(+", "00")):
        return (None,)
    if head.rstrip(_AFTER_WORD)[-1:].isalpha() and known.announced.search(head):
        return known.regions
    if _NANP.match(written):
        return known.american
    if written.lstrip("(").startswith("0") and _SEPARATED.search(written) and _NINE_DIGITS.match(written):
        return known.trunk
    return ()


def _valid(written: str, regions: tuple[str | None, ...]) -> bool:
    """With a plus sign the length for that country is enough; without one the number must be one that is given out."""
    judge = phonenumbers.is_valid_number
    if regions == (None,):
        if not written.startswith("00"):
            judge = phonenumbers.is_possible_number
        written = "+" + _NOT_DIGIT.sub("", written).removeprefix("00")
    for region in regions:
        try:
            if judge(phonenumbers.parse(written, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
