"""Finds credentials by the forms that providers gave them, by the name before them, and private keys in PEM.

L is 16,384: a PEM key. In a stream one is held from its BEGIN line on until its END is there; every other format is
one word, so at most the last word is held.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import re2

from bartizan.policy.checks import Secrets
from sidecar.checks.base import Inspection, Match, SpanCheck
from sidecar.checks.detectors import secret_rules
from sidecar.checks.detectors.secret_rule import SecretRule
from sidecar.checks.detectors.secret_rules_announced import ANNOUNCED
from sidecar.checks.detectors.secret_rules_services import SERVICES
from sidecar.checks.pattern_set import PatternSet
from sidecar.checks.quiet import any_of, can_be_quiet
from sidecar.checks.spans import ACTIONS, TOO_MANY, Allowance, disjoint, inspection
from sidecar.checks.typography import SPREAD, has_controls, plain
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action

PLACEHOLDER = "[SECRET]"
RULES = (*secret_rules.RULES, *SERVICES, *ANNOUNCED)
_WORD_MAX = 4200
_UNHINTED_MAX = 64
"""How far before its hint a secret may begin, and a hint itself: all that an unhinted word must hold back."""
_LEAD_MAX = 40
"""How far before its hint a match begins at most."""
_DISTINCT = 6
"""Placeholders in documentation ("sk-xxxxxxxx…") have fewer different characters than any real secret."""

_CHARS_PER_LOOK = 8
"""A list of links has one hint in twenty characters or more."""
_STRETCH = 8_192
"""Characters of a long text that are asked for hints together."""
_TOUCHING_REVERSED = re.compile(r"[A-Za-z0-9.+]+")
_WORD_REVERSED = re.compile(r"[!-~]+")

_PEM_MARK = "-----BEGIN "
_PEM_BODY_MAX = 16_000
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,\-]*")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_MATERIAL = re.compile(r"[A-Za-z0-9+/=]{40,}")
_PEM_OPENING = re.compile(r"-{1,5}(?:[A-Z0-9 ]{0,60}-{0,5})?\Z")


_HINTS = PatternSet(re2.escape(rule.hint) for rule in RULES)
"""All hints searched at once: a text without secrets is read a single time."""
_HINT_MAX = max(len(rule.hint) for rule in RULES)


class SecretsCheck:
    """SpanCheck over all formats."""

    name = "secrets"
    identifiers = 128
    """Signatures of reasoning are longer, and random enough to hold the form of a key by chance."""
    context = SPREAD * 65
    max_match = 16_384
    loud = any_of(rule.hint for rule in RULES if can_be_quiet(rule.hint))

    def __init__(self, action: Action) -> None:
        self.action = action

    def inspect(self, part: TextPart) -> Inspection:
        return inspection(self.name, self.action, part, self.matches(part.text))

    def matches(self, text: str, start: int = 0) -> list[Match]:
        read = plain(text)
        return read.back(self._found(read.text, read.at(start)), self.max_match)

    def _found(self, text: str, start: int) -> list[Match]:
        found: list[Match] = []
        allowance = Allowance(text, _CHARS_PER_LOOK)
        for index, stretches in _hinted(text):
            found += _words(RULES[index], text, start, stretches, allowance)
        if allowance.left < 0:
            return [Match(start=start, end=len(text), kind=TOO_MANY, replacement=PLACEHOLDER)]
        if _PEM_MARK in text:
            found += _private_keys(text, start)
        return disjoint(found) if found else found

    def settled(self, text: str) -> int:
        read = plain(text)
        return read.settled(self._settled(read.text), len(text), self.max_match)

    def calm(self, text: str, seen: int = 0) -> int | None:
        """By the hints: without one there is no secret, but a key in PEM begins with dashes."""
        fresh = text[max(0, seen - _HINT_MAX) :]
        if "-" in fresh or not fresh.isascii() or has_controls(fresh) or _HINTS.matches(fresh):
            return None
        run = _WORD_REVERSED.match(text[: -_UNHINTED_MAX - 1 : -1])
        return len(text) if run is None else len(text) - run.end()

    def _settled(self, text: str) -> int:
        opened = len(text)
        if "-" in text:
            opened = _open_private_key(text)
        run = _WORD_REVERSED.match(text[-1 : -_WORD_MAX - 1 : -1])
        if run is not None:
            word = run.group()[::-1]
            held = len(word) if _HINTS.matches(word) else min(len(word), _UNHINTED_MAX)
            opened = min(opened, len(text) - held)
        return opened


def build(config: Secrets) -> SpanCheck:
    return SecretsCheck(ACTIONS[config.action])


def _hinted(text: str) -> Iterable[tuple[int, Sequence[int]]]:
    """Each rule whose hint is there, and where the stretches begin that hold one: the rest need not be read for it again."""
    if len(text) <= _STRETCH:
        return [(index, (0,)) for index in _HINTS.matches(text)]
    stretches: defaultdict[int, list[int]] = defaultdict(list)
    for begin in range(0, len(text), _STRETCH):
        for index in _HINTS.matches(text[begin : begin + _STRETCH + _HINT_MAX - 1]):
            stretches[index].append(begin)
    return sorted(stretches.items())


def _words(
    rule: SecretRule, text: str, start: int, stretches: Sequence[int], allowance: Allowance
) -> Iterator[Match]:
    """Matches of one rule, looked for only around its hint, and only as long as the allowance lasts."""
    following = 0
    for begin in stretches:
        end = begin + _STRETCH + len(rule.hint) - 1
        while (at := text.find(rule.hint, max(begin, following), end)) >= 0:
            if not allowance.spend(rule.cost):
                return
            match = _match(rule, text, start, at, allowance)
            following = at + len(rule.hint)
            if match is None:
                continue
            first, last = match.span(rule.pattern.groups)
            if _is_secret(rule, text[first:last], whole=not rule.pattern.groups):
                if first >= start:
                    yield Match(
                        start=first, end=last, kind=rule.kind, replacement=PLACEHOLDER, score=rule.score
                    )
                if not rule.pattern.groups:  # what is announced may hold the announcement of the next: "Authorization: Basic aaaAuthorization: …"
                    following = max(following, last)


def _match(rule: SecretRule, text: str, start: int, at: int, allowance: Allowance) -> re.Match[str] | None:
    """What the rule's pattern matches around the hint that is here."""
    group = rule.pattern.groups
    if rule.leads:
        return rule.pattern.match(text, at) if group or at >= start else None
    for opening in rule.opening.finditer(text, _earliest(rule, text, at, 0 if group else start), at):
        match = rule.pattern.match(text, opening.start())
        if match is not None:
            return match
        if not allowance.spend():
            break
    return None


def _is_secret(rule: SecretRule, found: str, *, whole: bool) -> bool:
    """Not a placeholder. `whole`: the word holds the hint, so that a stream shows all of it before it is judged."""
    if len(set(found)) < _DISTINCT or (rule.valid is not None and not rule.valid(found)):
        return False
    return not whole or (
        2 * max(found.count(char) for char in set(found)) <= len(found) and not found.endswith("EXAMPLE")
    )


def _earliest(rule: SecretRule, text: str, at: int, floor: int) -> int:
    """Where a match with its hint at `at` may begin at the earliest."""
    low = max(floor, at - _LEAD_MAX)
    if not rule.touching:
        return low
    run = _TOUCHING_REVERSED.match(text[low:at][::-1])
    return at - run.end() if run else at


def _private_keys(text: str, start: int) -> Iterator[Match]:
    for begin in _PEM_BEGIN.finditer(text, start):
        body_end = _pem_body_end(text, begin.end())
        if ending := _PEM_END.search(text, begin.end(), body_end):
            end = ending.end()
        elif _PEM_MATERIAL.search(text, begin.end(), body_end):
            end = body_end
        else:
            continue
        yield Match(start=begin.start(), end=end, kind="private_key", replacement=PLACEHOLDER)


def _pem_body_end(text: str, start: int) -> int:
    """Where what may be a key's body ends: at a character it can't hold, at the next key, or at the bound."""
    limit = min(len(text), start + _PEM_BODY_MAX)
    following = text.find(_PEM_MARK, start, limit)
    body = _PEM_BODY.match(text, start, following if following >= 0 else limit)
    return body.end() if body else start


def _open_private_key(text: str) -> int:
    """Where a PEM key begins that the rest of a stream may complete, else the text's length."""
    for begin in _PEM_BEGIN.finditer(text):
        body_end = _pem_body_end(text, begin.end())
        if body_end == len(text) < begin.end() + _PEM_BODY_MAX and not _PEM_END.search(text, begin.end()):
            return begin.start()
    floor = max(0, len(text) - 90)
    opening = _PEM_OPENING.search(text, floor)
    return opening.start() if opening else len(text)
