"""Numbers that identify people: where an IBAN or a card begins, how far it goes, whether it is one; phones apart.

Pure functions for detectors/pii.py. Every candidate begins at a boundary, is bounded in length and is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain

import re2

from sidecar.checks.base import Match
from sidecar.checks.detectors import pii_phones
from sidecar.checks.detectors.digit_runs import BEHIND, Runs
from sidecar.checks.detectors.iban_lengths import IBAN_LENGTHS
from sidecar.checks.detectors.pii_phones import Notations
from sidecar.checks.spans import TOO_MANY, Allowance

_CHARS_PER_CANDIDATE = 128
_CHARS_PER_GROUP = 2
"""Tables of four-digit numbers look like cards: what counts is how many groups were put together."""

_SEPARATOR = r"[ \-\u00a0\u2009\u202f]"
# Look-behinds stand after the first character: a pattern that begins with a character class is searched much faster.
_IBAN = re.compile(r"[0-9][0-9](?<=[A-Za-z]{2}..)(?<![A-Za-z0-9][A-Za-z]{2}..)")
_IBAN_HEAD = re2.compile(rb"(?:\A|[^A-Za-z0-9])[A-Za-z]{2}[0-9]{2}")
"""The same for all of a text, in a fifth of the time."""
_IBAN_BODY = re.compile(rf"(?:{_SEPARATOR}?[A-Za-z0-9]){{11,30}}")
_IBAN_HEAD_REVERSED = re.compile(r"[0-9]?[A-Za-z]{1,2}(?![A-Za-z0-9])")
_IBAN_BODY_OPEN = re.compile(rf"(?:{_SEPARATOR}?[A-Za-z0-9]){{0,30}}{_SEPARATOR}?")
_IBAN_MAX = 68
# Two blanks too, and dots before groups of four: a longer group after one is a fraction.
_CARD_SEPARATOR = rf"(?:{_SEPARATOR} ?|\.(?=[0-9]{{4}}(?![0-9])))"
_CARD_RUN = re.compile(rf"[0-9](?<![0-9].)(?:{_CARD_SEPARATOR}?[0-9]){{11,}}")
_GROUPS = re.compile(r"[0-9]+")
_CARD_LENGTHS = range(12, 20)
_CARD_MAX = 38
_DIGIT_RUN_REVERSED = re.compile(r"[0-9 ().\-/+\u00a0\u2009\u202f]+")
_STARTS_NUMBER = re.compile(r"[0-9+(]")


def find(text: str, start: int, kinds: Sequence[str], known: Notations, runs: Runs) -> list[Match]:
    """Matches of these kinds that begin at `start` or later; overlapping ones are not yet resolved. `runs`: of the digits
    from there on. All of these kinds hold one.
    """
    if not runs:
        return []
    found: list[Match] = []
    for kind in kinds:
        match kind:
            case "iban":
                found += _ibans(text, start)
            case "card":
                found += _cards(text, runs)
            case _:
                found += pii_phones.find(text, start, known, runs)
    return found


def open_length(tail: str, kinds: Sequence[str]) -> int:
    """How much of the tail's end may be, or become, one of these kinds."""
    held = 0
    run = _DIGIT_RUN_REVERSED.match(tail[::-1])
    if run is not None and ("card" in kinds or "phone" in kinds):
        forward = run.group()[::-1]
        if first := _STARTS_NUMBER.search(forward):
            held = min(len(forward) - first.start(), pii_phones.LONGEST)
    if "iban" in kinds:
        held = max(held, _open_iban(tail[-_IBAN_MAX:]))
    return held


def _open_iban(window: str) -> int:
    """How much of the window's end may become an IBAN."""
    for head in _IBAN.finditer(window):
        if _IBAN_BODY_OPEN.fullmatch(window, head.end()):
            return len(window) - head.start() + 2
    head_alone = _IBAN_HEAD_REVERSED.match(window[:-5:-1])
    return head_alone.end() if head_alone else 0


def _ibans(text: str, start: int) -> Iterator[Match]:
    allowance = Allowance(text, _CHARS_PER_CANDIDATE)
    for head in _IBAN_HEAD.finditer(text.encode("ascii", "replace"), max(0, start - 1)):
        first = head.end() - 4
        length = IBAN_LENGTHS.get(text[first : first + 2].upper())
        if first < start or length is None or (body := _IBAN_BODY.match(text, head.end())) is None:
            continue
        if not allowance.spend():
            yield Match(start=first, end=len(text), kind=TOO_MANY, replacement="[IBAN]")
            return
        count = 4
        for offset, char in enumerate(body.group()):
            count += char.isalnum()
            if count == length:
                end = body.start() + offset + 1
                if not text[end : end + 1].isalnum() and _mod97(text[first:end]):
                    yield Match(start=first, end=end, kind="iban", replacement="[IBAN]")
                break


def _mod97(written: str) -> bool:
    compact = "".join(char for char in written.upper() if char.isalnum())
    digits = "".join(str(int(char, 36)) for char in compact[4:] + compact[:4])
    return int(digits) % 97 == 1


def _cards(text: str, runs: Runs) -> Iterator[Match]:
    """A card begins at a group of digits and ends with one, so that part of a longer number is never one."""
    allowance = Allowance(text, _CHARS_PER_GROUP)
    for run in chain.from_iterable(_CARD_RUN.finditer(text, start, end + BEHIND) for start, end in runs):
        first = run.start()
        before = text[first - 1 : first]
        glued = (
            before == "_"
            or before.isalnum()
            or (before in {".", ","} and text[first - 2 : first - 1].isdigit())
        )
        yield from _cards_in(text, list(_GROUPS.finditer(run.group())), int(glued), first, allowance)
        if allowance.left < 0:
            return


def _cards_in(
    text: str, groups: list[re.Match[str]], index: int, offset: int, allowance: Allowance
) -> Iterator[Match]:
    """Cards of one run of groups, from this group on. `offset` is where the run begins."""
    numbers = [group.group() for group in groups]
    while index < len(numbers):
        if _may_be_card(numbers, index):
            start = offset + groups[index].start()
            last, looked_at = _card_end(numbers, index)
            if not allowance.spend(looked_at):
                yield Match(start=start, end=len(text), kind=TOO_MANY, replacement="[CARD]")
                return
            end = offset + groups[last].end()
            following = text[end : end + 1]
            if last >= 0 and not (following == "_" or (following.isascii() and following.isalpha())):
                yield Match(start=start, end=end, kind="card", replacement="[CARD]")
                index = last
        index += 1


def _may_be_card(numbers: Sequence[str], index: int) -> bool:
    """A quick look at what most numbers lack: a network's first digits."""
    head = numbers[index]
    if head[0] not in "123456":
        return False
    if len(head) < 4:
        head = "".join(numbers[index : index + 4])
    return head[:4] in _NETWORKS


def _card_end(numbers: Sequence[str], first: int) -> tuple[int, int]:
    """The last group of the longest card that begins with this one, or -1, and how many were read. All but the last are of one length, unless
    the first is of four (American Express writes 4, 6 and 5 digits).
    """
    size = len(numbers[first])
    number, best, index = "", -1, first
    for index in range(first, len(numbers)):
        if index > first + 1 and size != 4 and len(numbers[index - 1]) != size:
            break
        number += numbers[index]
        if len(number) >= _CARD_LENGTHS.stop or (index > first and size > 4):
            break
        if len(number) in _CARD_LENGTHS and len(number) in _issued(int(number[:4])) and _luhn(number):
            best = index
    return best, index - first + 1


_DOUBLED = str.maketrans("0123456789", "0246813579")
"""The digit sum of twice a digit."""


def _luhn(number: str) -> bool:
    return (sum(map(int, number[::-2])) + sum(map(int, number[-2::-2].translate(_DOUBLED)))) % 10 == 0


def _issued(head: int) -> AbstractSet[int]:
    """The lengths of the numbers that card networks issue with these first four digits."""
    two, three = head // 100, head // 10
    if head // 1000 == 4:
        return {13, 16, 19}
    if 51 <= two <= 55 or 2221 <= head <= 2720:
        return {16}
    if two in {34, 37} or head in {1800, 2131}:
        return {15}
    if 300 <= three <= 305 or two in {36, 38, 39}:
        return {14, 16, 19}
    if 2200 <= head <= 2204 or 3528 <= head <= 3589 or two in {62, 65} or head == 6011 or 644 <= three <= 649:
        return _LONG
    return _ANY if head in {5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763} else _NO_LENGTH


_ANY = frozenset(_CARD_LENGTHS)
_LONG = frozenset(length for length in _CARD_LENGTHS if length >= 16)
_NO_LENGTH: AbstractSet[int] = frozenset()
_NETWORKS = frozenset(f"{head:04}" for head in range(10_000) if _issued(head))
"""The first four digits with which cards begin."""
