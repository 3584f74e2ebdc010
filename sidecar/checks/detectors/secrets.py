"""Finds credentials by the forms that providers gave them (secret_rules.py) and private keys in PEM.

L is 16,384: a PEM key. In a stream one is held from its BEGIN line on until its END is there; every other format is
one word, so at most the last word is held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bartizan.policy.checks import Secrets
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.detectors.secret_rules import RULES
from sidecar.checks.spans import ACTIONS, disjoint, inspection
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

PLACEHOLDER = "[SECRET]"
_WORD_MAX = 4200
_UNHINTED_MAX = 64
"""How far before its hint a secret may begin, and a hint itself: all that an unhinted word must hold back."""
_DISTINCT = 6
"""Placeholders in documentation ("sk-xxxxxxxx…") have fewer different characters than any real secret."""

_HINTS = tuple(dict.fromkeys(rule.hint for rule in RULES))
_ANY_HINT = re.compile("|".join(re.escape(hint) for hint in _HINTS))
_WORD_REVERSED = re.compile(r"[!-~]+")

_PEM_MARK = "-----BEGIN "
_PEM_BODY_MAX = 16_000
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,\-]*")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_MATERIAL = re.compile(r"[A-Za-z0-9+/=]{40,}")
_PEM_OPENING = re.compile(r"-{1,5}(?:[A-Z0-9 ]{0,60}-{0,5})?\Z")


class SecretsCheck:
    """SpanCheck over all formats."""

    name = "secrets"
    context = 64
    max_match = 16_384

    def __init__(self, action: Action) -> None:
        self.action = action

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        found: list[Match] = []
        hinted = {match.group() for match in _ANY_HINT.finditer(text)}
        if hinted:
            hinted |= {hint for hint in _HINTS if hint not in hinted and hint in text}
            found += (match for match in _words(text, start, hinted))
        if _PEM_MARK in text:
            found += _private_keys(text, start)
        return disjoint(found) if found else found

    def settled(self, text: str) -> int:
        opened = len(text)
        if "-" in text:
            opened = _open_private_key(text)
        run = _WORD_REVERSED.match(text[-1 : -_WORD_MAX - 1 : -1])
        if run is not None:
            word = run.group()[::-1]
            held = len(word) if _ANY_HINT.search(word) else min(len(word), _UNHINTED_MAX)
            opened = min(opened, len(text) - held)
        return opened


def build(config: Secrets) -> SpanCheck:
    return SecretsCheck(ACTIONS[config.action])


def _words(text: str, start: int, hinted: set[str]) -> Iterator[Match]:
    for rule in RULES:
        if rule.hint not in hinted:
            continue
        for match in rule.pattern.finditer(text, 0 if rule.pattern.groups else start):
            first, end = match.span(rule.pattern.groups)
            if first >= start and len(set(text[first:end])) >= _DISTINCT:
                yield Match(start=first, end=end, kind=rule.kind, replacement=PLACEHOLDER)


def _private_keys(text: str, start: int) -> Iterator[Match]:
    for begin in _PEM_BEGIN.finditer(text, start):
        limit = min(len(text), begin.end() + _PEM_BODY_MAX)
        body = _PEM_BODY.match(text, begin.end(), limit)
        body_end = body.end() if body else begin.end()
        if ending := _PEM_END.search(text, begin.end(), body_end):
            end = ending.end()
        elif _PEM_MATERIAL.search(text, begin.end(), body_end):
            end = body_end
        else:
            continue
        yield Match(start=begin.start(), end=end, kind="private_key", replacement=PLACEHOLDER)


def _open_private_key(text: str) -> int:
    """Where a PEM key begins that the rest of a stream may complete, else the text's length."""
    for begin in _PEM_BEGIN.finditer(text):
        limit = begin.end() + _PEM_BODY_MAX
        body = _PEM_BODY.match(text, begin.end(), limit)
        body_end = body.end() if body else begin.end()
        if body_end == len(text) < limit and not _PEM_END.search(text, begin.end()):
            return begin.start()
    floor = max(0, len(text) - 90)
    opening = _PEM_OPENING.search(text, floor)
    return opening.start() if opening else len(text)
