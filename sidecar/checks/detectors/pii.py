"""Finds personal data that has a checkable form: e-mail addresses, phone numbers, IBANs (mod 97), cards (Luhn).

Numbers are told from order ids by checksum, issuer, country and the way they are written; see pii_numbers.py.
L is 321: the longest address (64 + 1 + 255 characters) and one after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bartizan.policy.checks import Pii
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.detectors import pii_numbers
from sidecar.checks.spans import ACTIONS, TOO_MANY, Allowance, disjoint, inspection
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

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
    context = pii_numbers.CONTEXT
    max_match = _LOCAL_MAX + 1 + _DOMAIN_MAX + 1

    def __init__(self, types: Sequence[str], action: Action) -> None:
        self.action = action
        self._email = "email" in types
        self._numbers = tuple(kind for kind in ("iban", "card", "phone") if kind in types)

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        found: list[Match] = []
        if self._email:
            found += _emails(text, start)
        if self._numbers:
            found += pii_numbers.find(text, start, self._numbers)
        return disjoint(found) if found else found

    def settled(self, text: str) -> int:
        tail = text[-self.max_match + 1 :]
        held = pii_numbers.open_length(tail, self._numbers) if self._numbers else 0
        if self._email:
            held = max(held, _open_email(tail))
        return len(text) - held


def build(config: Pii) -> SpanCheck:
    return PiiCheck(config.types, ACTIONS[config.action])


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
