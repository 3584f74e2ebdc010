"""Finds strings that must never leave: exactly, in any case, in letters that look like theirs, and with anything between
that is neither letter nor digit.

A finding's kind says whose it is: `canary` for the policy's own, `canary:acme` for one of tenant acme. L is three times the longest token: at most that many characters may a scattered token span.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bartizan.policy.checks import Canary
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.confusables import lower_latin
from sidecar.checks.quiet import begun
from sidecar.checks.spans import ACTIONS, disjoint, inspection
from sidecar.checks.typography import ascii_signs
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

PLACEHOLDER = "[REDACTED]"
_SHORT = 8
"""A token that keeps fewer characters than this without its separators is matched with them."""
_SPREAD = 3
_GAPS = re.compile(r"[\W_]")
"""Whatever is neither letter nor digit, emoji and marks too. What letters hide behind becomes such a sign before."""


class CanaryCheck:
    """SpanCheck over all tokens of one policy."""

    name = "canary"
    identifiers = 4_096
    context = 0

    def __init__(self, tokens: Mapping[str, str], action: Action) -> None:
        """`tokens`: each with the kind of its findings."""
        self.action = action
        self.max_match = _SPREAD * max(len(token) for token in tokens)
        self._squeezed = {
            spread: kind
            for token, kind in sorted(tokens.items())
            if len(spread := _squeeze(token)[0]) >= _SHORT
        }
        self._exact = {
            _lower(token): kind for token, kind in sorted(tokens.items()) if len(_squeeze(token)[0]) < _SHORT
        }
        self._beginnings = _beginnings(tuple(self._squeezed))
        self._exact_beginnings = _beginnings(tuple(self._exact))
        self.loud = None if self._exact else begun(tuple(self._squeezed))
        self._firsts = frozenset(token[0] for token in (*self._squeezed, *self._exact))

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        text = text[start:]
        lowered = _lower(text)
        spans = [(*hit, kind) for token, kind in self._exact.items() for hit in _occurrences(lowered, token)]
        squeezed = _GAPS.sub("", lowered)
        hits = [
            (*hit, kind) for token, kind in self._squeezed.items() for hit in _occurrences(squeezed, token)
        ]
        if hits:
            places = _squeeze(text)[1]
            spans += [(places[first], places[end - 1] + 1, kind) for first, end, kind in hits]
        return disjoint(
            Match(start=start + first, end=start + end, kind=kind, replacement=PLACEHOLDER)
            for first, end, kind in spans
            if end - first <= self.max_match
        )

    def calm(self, text: str, seen: int = 0) -> int | None:  # noqa: ARG002
        """As long as it is short and no token is in it."""
        if self._exact or len(text) >= self.max_match:
            return None
        squeezed = _GAPS.sub("", _lower(text))
        if any(token in squeezed for token in self._squeezed):
            return None
        opened = _open(squeezed, self._beginnings, self._firsts)
        return _squeeze(text)[1][-opened] if opened else len(text)

    def settled(self, text: str) -> int:
        floor = max(0, len(text) - self.max_match + 1)
        tail = text[floor:]
        lowered = _lower(tail)
        open_at = len(tail)
        if found := _open(_GAPS.sub("", lowered), self._beginnings, self._firsts):
            open_at = _squeeze(tail)[1][-found]
        if self._exact:
            open_at = min(open_at, len(tail) - _open(lowered, self._exact_beginnings, self._firsts))
        return floor + open_at


def build(config: Canary) -> SpanCheck:
    own = {token: f"canary:{tenant}" for tenant, tokens in config.tenants.items() for token in tokens}
    return CanaryCheck({**own, **dict.fromkeys(config.tokens, "canary")}, ACTIONS[config.action])


def _lower(text: str) -> str:
    """Lower case, full-width letters and digits and look-alikes as ASCII, one for one, so that positions stay."""
    return lower_latin(ascii_signs(text))


def _squeeze(text: str) -> tuple[str, list[int]]:
    """Lower case without gaps, and where each of its characters stood. A full-width slash is a gap, as ASCII's is."""
    lowered = _lower(text)
    places = [index for index, char in enumerate(lowered) if not _GAPS.match(char)]
    return "".join([lowered[index] for index in places]), places


def _occurrences(text: str, token: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = text.find(token)
    while at >= 0:
        found.append((at, at + len(token)))
        at = text.find(token, at + len(token))
    return found


def _beginnings(tokens: Sequence[str]) -> frozenset[str]:
    return frozenset(token[:length] for token in tokens for length in range(1, len(token)))


def _open(text: str, beginnings: frozenset[str], firsts: frozenset[str]) -> int:
    """Length of the longest end of the text with which a token begins."""
    for index, char in enumerate(text):
        if char in firsts and text[index:] in beginnings:
            return len(text) - index
    return 0
