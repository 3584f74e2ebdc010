"""What span checks share: from matches to an inspection, untangling of overlapping candidates, a bound on work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sidecar.checks.base import CLEAN, Inspection, Match
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Edit, Finding

TOO_MANY = "too_many_candidates"
"""The kind of a match that nobody judged, because a text holds more candidates than any honest one: it counts as a hit."""
ACTIONS = {"flag": Action.FLAG, "redact": Action.REDACT, "cut": Action.CUT, "deny": Action.DENY}


def inspection(check: str, action: Action, part: TextPart, matches: Sequence[Match]) -> Inspection:
    """One finding per kind; edits when the action is to redact."""
    if not matches:
        return CLEAN
    kinds = dict.fromkeys((match.kind, done(action, match)) for match in matches)
    findings = tuple(
        Finding(check=check, kind=kind, action=taken, location=part.location) for kind, taken in kinds
    )
    if action is not Action.REDACT:
        return Inspection(findings=findings)
    edits = tuple(
        Edit(start=match.start, end=match.end, replacement=match.replacement)
        for match in matches
        if match.action is None
    )
    return Inspection(findings=findings, edits=edits)


def done(action: Action, match: Match) -> Action:
    """What this match leads to, by its check's action."""
    return action if match.action is None else match.action


def disjoint(candidates: Iterable[Match]) -> list[Match]:
    """In text order, without overlaps, covering every character that a candidate covers.

    Of two that begin together the longer stays; one that begins inside another keeps only what stands out.
    """
    kept: list[Match] = []
    done = 0
    for match in sorted(candidates, key=lambda match: (match.start, -match.end)):
        if match.start >= done:
            kept.append(match)
        elif match.end > done:
            kept.append(replace(match, start=done))
        done = max(done, match.end)
    return kept


def occurrences(text: str, sign: str, start: int = 0) -> Iterator[int]:
    """Where a literal stands, from `start` on."""
    at = text.find(sign, start)
    while at >= 0:
        yield at
        at = text.find(sign, at + len(sign))


class Allowance:
    """How many candidates of one text may be judged: what is dense in an honest text, so work grows with its length."""

    def __init__(self, text: str, per_chars: int) -> None:
        self.left = 2_000 + len(text) // per_chars

    def spend(self, cost: int = 1) -> bool:
        """False when it is used up."""
        self.left -= cost
        return self.left >= 0
