"""Finds personal data that has a form: e-mail addresses here, numbers of phones, accounts and cards in pii_numbers.py,
papers, machines, wallets and places by the tables of national_forms.py and pii_places.py.

Numbers are told from order ids by checksum, issuer, country, the way they are written and the word before them.
L is 321: the longest address (64 + 1 + 255 characters) and one after it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import merge

from bartizan.policy.checks import Pii
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.detectors import pii_forms, pii_numbers, pii_phones
from sidecar.checks.detectors.digit_runs import LONGEST_SIGN, digit_runs, has_digit_run
from sidecar.checks.detectors.national_forms import NATIONAL_IDS, SSN
from sidecar.checks.detectors.pii_forms import Form, Forms, also_announced
from sidecar.checks.detectors.pii_places import PLACES
from sidecar.checks.detectors.pii_replacement import in_pseudonym
from sidecar.checks.detectors.pii_treatment import Treatment
from sidecar.checks.scope import Scope
from sidecar.checks.spans import TOO_MANY, Allowance, disjoint, inspection, occurrences
from sidecar.checks.typography import SPREAD, Plain, has_controls, plain
from sidecar.formats.base import TextPart

_LOCAL_MAX = 64
_DOMAIN_MAX = 255
_LOCAL_CHARS = r"A-Za-z0-9\u00c0-\u024f.!#$%&*+/=?^_{|}~\-"
_AT_SIGNS = ("@", "\uff20", "%40")
_AT = re.compile("|".join(_AT_SIGNS))
_LOCAL_REVERSED = re.compile(rf"[{_LOCAL_CHARS}]+")
_LABEL = r"[A-Za-z0-9\u00c0-\u024f](?:[A-Za-z0-9\u00c0-\u024f\-]{0,61}[A-Za-z0-9\u00c0-\u024f])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:[A-Za-z\u00c0-\u024f]{{2,24}}|xn--[A-Za-z0-9\-]{{2,59}})")
_RUN_REVERSED = re.compile(rf"[{_LOCAL_CHARS}@\uff20]+")
_NUMBER_SIGN = re.compile(r"[0-9+(]")
"""Without one of them an ASCII text holds no number, and none can begin in it but an IBAN in its last word."""
_LONG = frozenset({"card", "ssn"})
"""Kinds of forms that have at least as many digits as a run has."""
_CHARS_PER_ADDRESS = 12
_LOCAL_EDGE = "./=&?#|{}*!^~$"
"""Characters legal in a local part that in prose or URLs stand before an address."""


class PiiCheck:
    """SpanCheck of the chosen types."""

    name = "pii"
    context = SPREAD * (max(pii_phones.CONTEXT, pii_forms.CONTEXT) + 1)
    max_match = _LOCAL_MAX + 1 + _DOMAIN_MAX + 1

    def __init__(self, config: Pii) -> None:
        """Raises ValueError for a region that gives out no numbers and a pattern that is none."""
        self.treatment = Treatment(config)
        self.action = self.treatment.action
        self._email = "email" in config.types
        self._numbers = tuple(kind for kind in ("iban", "card", "phone") if kind in config.types)
        self._notations = pii_phones.notations(config.regions, config.context.get("phone", ()))
        self._forms = Forms(_forms(config))
        self._long = self._forms.kinds <= _LONG
        self.loud = ("" if self._long else "[0-9]") if self._forms.begin_with_digits else None

    @property
    def binds(self) -> bool:
        return self.treatment.binds

    def bound(self, scope: Scope) -> PiiCheck:
        """What stands for a finding is then this exchange's; unbound, it is its type's name alone."""
        check = copy.copy(self)
        check.treatment = self.treatment.bound(scope)
        return check

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        read = plain(text)
        return read.back(self._found(read.text, read.at(start), read, text), self.max_match)

    def _found(self, text: str, start: int, read: Plain, written: str) -> list[Match]:
        """Of a plain text; `written` is as it came."""
        runs = digit_runs(text, start)
        found = list(self._forms.find(text, start, runs))
        if self._email:
            found += _emails(text, start)
        if self._numbers:
            found += pii_numbers.find(text, start, self._numbers, self._notations, runs)
        if found:
            found = [one for one in found if not in_pseudonym(one.kind, text, one.start, one.end)]
            allows = self.treatment.allows
            found = [match for match in found if not allows(text[match.start : match.end])]
        if not found:
            return found
        found = disjoint(found)
        if not self.treatment.replaces:
            return found
        return [self._replaced(match, text, read, written) for match in found]

    def settled(self, text: str) -> int:
        read = plain(text)
        return read.settled(self._settled(read.text), len(text), self.max_match)

    def calm(self, text: str, seen: int = 0) -> int | None:
        """By the signs that every match of the chosen types has: an at-sign, digits, mostly many of them."""
        fresh = text[seen:]
        if not fresh.isascii() or "@" in fresh or "%" in fresh or has_controls(fresh):
            return None
        if _NUMBER_SIGN.search(text):
            closer = not self._long or has_digit_run(text, max(0, seen - LONGEST_SIGN))
            return None if closer else self._settled(text)
        if not self._forms.begin_with_digits:
            return None
        held = 0
        if self._email:
            held = _open_email(text[-_LOCAL_MAX - 2 :])
        elif "iban" in self._numbers:
            held = pii_numbers.open_length(text[-_LOCAL_MAX:], ("iban",))
        return len(text) - held

    def _settled(self, text: str) -> int:
        tail = text[-self.max_match + 1 :]
        held = pii_numbers.open_length(tail, self._numbers) if self._numbers else 0
        if self._email:
            held = max(held, _open_email(tail))
        held = max(held, self._forms.open_length(tail))
        return len(text) - held

    def _replaced(self, match: Match, text: str, read: Plain, written: str) -> Match:
        """A token is put back as it was written; masks and pseudonyms are of the plain value."""
        if match.kind == TOO_MANY:
            return match
        value = text[match.start : match.end]
        if self.treatment.as_written:
            ((first, end),) = [(moved.start, moved.end) for moved in read.back([match], len(written))]
            value = written[first:end]
        made = self.treatment.instead(match.kind, value)
        return replace(match, replacement=made) if made else match


def build(config: Pii) -> SpanCheck:
    """Raises ValueError like PiiCheck."""
    return PiiCheck(config)


def _forms(config: Pii) -> list[Form]:
    """The chosen ones; of national numbers those of the chosen regions."""
    words: dict[str, tuple[str, ...]] = {str(kind): said for kind, said in config.context.items()}
    return [
        also_announced(form, words.get(form.kind, ()))
        for form in (*SSN, *NATIONAL_IDS, *PLACES)
        if form.kind in config.types
        and (not config.regions or form.kind != "national_id" or _of(form.rule, config.regions))
    ]


def _of(rule: str, regions: Sequence[str]) -> bool:
    """Whether a rule ("cz-sk/rodne-cislo") is of one of these countries."""
    return any(country.upper() in regions for country in rule.partition("/")[0].split("-"))


def _emails(text: str, start: int) -> Iterator[Match]:
    """Grown from every at-sign: the longest local part before it, the longest domain after it."""
    # literals one by one: each is found many times as fast as any of them by a regular expression
    signs = [occurrences(text, sign, start) for sign in _AT_SIGNS if sign in text]
    if not signs:
        return
    allowance = Allowance(text, _CHARS_PER_ADDRESS)
    for at in merge(*signs):
        if not allowance.spend():
            low = max(start, at - _LOCAL_MAX)
            yield Match(start=low, end=len(text), kind=TOO_MANY, replacement="[EMAIL]")
            return
        end = at + (len("%40") if text[at] == "%" else 1)
        domain = _DOMAIN.match(text, end, end + _DOMAIN_MAX)
        if domain is None:
            continue
        reversed_head = text[max(start, at - _LOCAL_MAX) : at][::-1]
        local = _LOCAL_REVERSED.match(reversed_head)
        if local is None or not (name := local.group()[::-1].lstrip(_LOCAL_EDGE)):
            continue
        yield Match(start=at - len(name), end=domain.end(), kind="email", replacement="[EMAIL]")


def _open_email(tail: str) -> int:
    """Length of the tail's end that may be, or become, an address."""
    run = _RUN_REVERSED.match(tail[::-1])
    if run is None:
        return 0
    return run.end() if _AT.search(run.group()[::-1]) else min(run.end(), _LOCAL_MAX + 2)
