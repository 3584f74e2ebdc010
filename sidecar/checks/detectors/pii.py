"""Finds personal data that has a form: e-mail addresses here, numbers of phones, accounts and cards in pii_numbers.py,
papers, machines, wallets and places by the tables of national_forms.py and pii_places.py.

Numbers are told from order ids by checksum, issuer, country, the way they are written and the word before them.
L is 321: the longest address (64 + 1 + 255 characters) and one after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bartizan.policy.checks import Pii
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.detectors import pii_forms, pii_numbers
from sidecar.checks.detectors.national_forms import NATIONAL_IDS, SSN
from sidecar.checks.detectors.pii_forms import Forms
from sidecar.checks.detectors.pii_places import PLACES
from sidecar.checks.spans import ACTIONS, TOO_MANY, Allowance, disjoint, inspection
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

_LAST_FOUR = frozenset(
    {"phone", "iban", "card", "ssn", "national_id", "passport", "driving_licence", "crypto"}
)
_LOCAL_MAX = 64
_DOMAIN_MAX = 255
_LOCAL_CHARS = r"A-Za-z0-9\u00c0-\u024f.!#$%&*+/=?^_{|}~\-"
_AT = re.compile("@|\uff20|%40")
_LOCAL_REVERSED = re.compile(rf"[{_LOCAL_CHARS}]+")
_LABEL = r"[A-Za-z0-9\u00c0-\u024f](?:[A-Za-z0-9\u00c0-\u024f\-]{0,61}[A-Za-z0-9\u00c0-\u024f])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:[A-Za-z\u00c0-\u024f]{{2,24}}|xn--[A-Za-z0-9\-]{{2,59}})")
_RUN_REVERSED = re.compile(rf"[{_LOCAL_CHARS}@\uff20]+")
_CHARS_PER_ADDRESS = 12
_LOCAL_EDGE = "./=&?#|{}*!^~$"
"""Characters legal in a local part that in prose or URLs stand before an address."""


class PiiCheck:
    """SpanCheck of the chosen types."""

    name = "pii"
    context = max(pii_numbers.CONTEXT, pii_forms.CONTEXT)
    max_match = _LOCAL_MAX + 1 + _DOMAIN_MAX + 1

    def __init__(
        self,
        types: Sequence[str],
        action: Action,
        *,
        allow: Sequence[str] = (),
        mask: bool = False,
    ) -> None:
        """`allow`: what is no finding, in any case; "@example.com" means every address there."""
        self.action = action
        self._allowed = frozenset(entry.lower() for entry in allow)
        self._mask = mask
        self._email = "email" in types
        self._numbers = tuple(kind for kind in ("iban", "card", "phone") if kind in types)
        self._forms = Forms([form for form in (*SSN, *NATIONAL_IDS, *PLACES) if form.kind in types])

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        found = list(self._forms.find(text, start))
        if self._email:
            found += _emails(text, start)
        if self._numbers:
            found += pii_numbers.find(text, start, self._numbers)
        if self._allowed:
            found = [match for match in found if not self._is_allowed(text[match.start : match.end].lower())]
        if self._mask:
            found = [
                replace(match, replacement=masked(match.kind, text[match.start : match.end]))
                for match in found
            ]
        return disjoint(found) if found else found

    def settled(self, text: str) -> int:
        tail = text[-self.max_match + 1 :]
        held = pii_numbers.open_length(tail, self._numbers) if self._numbers else 0
        if self._email:
            held = max(held, _open_email(tail))
        held = max(held, self._forms.open_length(tail))
        return len(text) - held

    def _is_allowed(self, found: str) -> bool:
        return found in self._allowed or ("@" in found and found[found.rindex("@") :] in self._allowed)


def build(config: Pii) -> SpanCheck:
    return PiiCheck(
        config.types,
        ACTIONS[config.action],
        allow=config.allow,
        mask=config.replacement == "mask",
    )


def masked(kind: str, found: str) -> str:
    """Stars for letters and digits. What people tell numbers by stays: the last four of eight or more; of an e-mail
    address its first letter and its domain.
    """
    if kind == "email" and "@" in found:
        name, _, domain = found.rpartition("@")
        return f"{name[0]}***@{domain}"
    signs = sum(char.isalnum() for char in found)
    kept = 4 if kind in _LAST_FOUR and signs >= 8 else 0
    out: list[str] = []
    for char in found:
        out.append("*" if char.isalnum() and signs > kept else char)
        signs -= char.isalnum()
    return "".join(out)


def _emails(text: str, start: int) -> Iterator[Match]:
    """Grown from every at-sign: the longest local part before it, the longest domain after it."""
    allowance = Allowance(text, _CHARS_PER_ADDRESS)
    for at in _AT.finditer(text, start):
        if not allowance.spend():
            low = max(start, at.start() - _LOCAL_MAX)
            yield Match(start=low, end=len(text), kind=TOO_MANY, replacement="[EMAIL]")
            return
        domain = _DOMAIN.match(text, at.end(), at.end() + _DOMAIN_MAX)
        if domain is None:
            continue
        reversed_head = text[max(start, at.start() - _LOCAL_MAX) : at.start()][::-1]
        local = _LOCAL_REVERSED.match(reversed_head)
        if local is None or not (name := local.group()[::-1].lstrip(_LOCAL_EDGE)):
            continue
        yield Match(start=at.start() - len(name), end=domain.end(), kind="email", replacement="[EMAIL]")


def _open_email(tail: str) -> int:
    """Length of the tail's end that may be, or become, an address."""
    run = _RUN_REVERSED.match(tail[::-1])
    if run is None:
        return 0
    return run.end() if _AT.search(run.group()[::-1]) else min(run.end(), _LOCAL_MAX + 2)
