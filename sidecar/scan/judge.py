"""Judges one text or body offline, by the same checks in the same order as a request, and says where and how sure.

Pure. The shells are bartizan/cli/scan.py and bartizan/cli/bench.py. Checks come from a policy or from the defaults of
the language; nothing here decides anything that a request's way would decide otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from bartizan.policy.checks import InputCheck
from sidecar.checks.alignment import Alignment, align, composed, identity, spliced
from sidecar.checks.base import Evidence, ExplainedCheck, Explanation, SpanCheck, TextCheck
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import NAME_WOULD_CHANGE, apply_edits, strongest
from sidecar.checks.spans import done, inspection
from sidecar.formats.base import Document, TextPart
from sidecar.model.finding import Action, Edit, Finding

GROUPS: Final = {
    "injection": "promptInjection",
    "pii": "pii",
    "secrets": "secrets",
    "sanitize": "sanitize",
}
"""What `--select` offers -> the check that it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One finding with its place in the input. Offsets count characters of the text at `location`. What the audit tells
    of has neither place nor score nor rule: records keep none.
    """

    detector: str
    kind: str
    action: Action
    start: int | None = None
    end: int | None = None
    score: float | None = None
    rule: str | None = None
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a request with this text would meet. `score`: the highest of the selected detectors, hit or not; None for
    what the audit tells of.
    """

    action: Action
    score: float | None
    hits: tuple[Hit, ...]


class Judge:
    """The checks of one policy. Detectors that are not selected do not run; sanitizers always do, for the others read
    what they leave, but what they took out counts only when they are selected.
    """

    def __init__(self, configs: Sequence[InputCheck], select: frozenset[str] | None = None) -> None:
        """`select` holds names of checks; None is all of them. Raises ResourceRejected where one can't be made ready."""
        wanted = [
            item
            for item in configs
            if select is None or item.__struct_config__.tag in select | {GROUPS["sanitize"]}
        ]
        built = build_checks(wanted)
        for check in built.asking:
            check.start()
        self._checks = built.texts
        self._counted = select

    def text(self, text: str, role: str = "user") -> Verdict:
        """One text, as a user's message."""
        return self.parts([TextPart(location="", text=text, role=role)])

    def document(self, document: Document) -> Verdict:
        """A request's body: every text that its format names."""
        return self.parts(list(document.texts()))

    def parts(self, parts: Sequence[TextPart]) -> Verdict:
        """Texts that travel together: the strongest action and the highest score count."""
        hits: list[Hit] = []
        score = 0.0
        for part in parts:
            likely, found = self._part(part)
            score = max(score, likely)
            hits += found
        action = strongest([Finding(check=hit.detector, kind=hit.kind, action=hit.action) for hit in hits])
        return Verdict(action=action, score=round(score, 4), hits=tuple(hits))

    def _part(self, part: TextPart) -> tuple[float, list[Hit]]:
        hits: list[Hit] = []
        score = 0.0
        lines: Alignment | None = None
        said, renamed = part.text, False
        for check in self._checks:
            explained = _explain(check, part)
            edits = explained.edits
            if self._counted is None or check.name in self._counted:
                score = max(score, explained.score)
                hits += [_hit(check.name, one, lines, part.location) for one in explained.evidence]
            if edits:
                renamed = renamed or self._counted is None or check.name in self._counted
                rewritten = apply_edits(part.text, edits)
                lines = _moved(lines, part.text, rewritten, edits, check)
                part = msgspec.structs.replace(part, text=rewritten)
        if renamed and part.fixed and part.text != said:
            hits.append(_name_would_change(part, said))
        return score, hits


def _name_would_change(part: TextPart, said: str) -> Hit:
    """A request's names stay: one that a check would edit is refused."""
    return Hit(
        detector=NAME_WOULD_CHANGE.check,
        kind=NAME_WOULD_CHANGE.kind,
        action=NAME_WOULD_CHANGE.action,
        start=0,
        end=len(said),
        score=1.0,
        rule=f"{NAME_WOULD_CHANGE.check}/{NAME_WOULD_CHANGE.kind}",
        location=part.location,
    )


def _hit(name: str, evidence: Evidence, lines: Alignment | None, location: str) -> Hit:
    start, end = evidence.start, evidence.end
    if lines is not None:
        start, end = lines.original(start, end)
    return Hit(
        detector=name,
        kind=evidence.kind,
        action=evidence.action,
        start=start,
        end=end,
        score=round(evidence.score, 4),
        rule=evidence.rule,
        location=location,
    )


def _explain(check: TextCheck, part: TextPart) -> Explanation:
    if hasattr(check, "explain"):  # asking whether it is an ExplainedCheck takes longer than a short text
        return cast("ExplainedCheck", check).explain(part)
    assert hasattr(check, "matches"), check.name
    return _spans(check, part)  # type: ignore[arg-type]


def _spans(check: SpanCheck, part: TextPart) -> Explanation:
    matches = check.matches(part.text)
    evidence = tuple(
        Evidence(
            kind=match.kind,
            action=done(check.action, match),
            start=match.start,
            end=match.end,
            score=match.score,
            rule=f"{check.name}/{match.rule or match.kind}",
        )
        for match in matches
    )
    return Explanation(
        score=max((one.score for one in evidence), default=0.0),
        evidence=evidence,
        edits=inspection(check.name, check.action, part, matches).edits,
    )


def _moved(
    lines: Alignment | None, text: str, rewritten: str, edits: Sequence[Edit], check: TextCheck
) -> Alignment:
    """Where the characters of the rewritten text stood in the input."""
    if len(edits) == 1 and (edits[0].start, edits[0].end) == (0, len(text)):
        newest = align(text, rewritten, lambda stretch: _alone(check, stretch))
        return composed(lines, newest) if lines is not None else newest
    ordered = sorted((edit.start, edit.end, len(edit.replacement)) for edit in edits)
    return spliced(lines if lines is not None else identity(text), ordered)


def _alone(check: TextCheck, stretch: str) -> str:
    return apply_edits(stretch, check.inspect(TextPart(location="", text=stretch)).edits)
