"""What the status of a policy object says: what became of the document, and what is proven of it. Pure.

"ENFORCED 3/3" stands there only when every selected sidecar proved the newest version; see control_plane/fleet/proof.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from bartizan.api import PolicyStatus, ProblemItem
from bartizan.errors import Problem
from control_plane.kubernetes.objects import (
    MOST_INSTANCES,
    MOST_PROBLEMS,
    Condition,
    ConditionType,
    InstanceReason,
    PolicyProblem,
    Status,
)

Fate = Literal["Accepted", "Invalid", "Conflict", "KeptElsewhere", "Waiting"]
"""Accepted: stored, signed, published. Waiting: something that we depend on is away; it is tried again."""
_TEXT = 1000
_MOST_WORDS = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the policies service made of one generation of an object."""

    generation: int
    uid: str
    fate: Fate
    message: str = ""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[ProblemItem, ...] = ()

    @property
    def hangs_on_others(self) -> bool:
        """Whether it may be another one without a change of the object: what is missing a MeshPolicy may give."""
        return self.fate in {"Waiting", "Conflict", "KeptElsewhere"} or any(
            each.document or each.code == "missing_field" for each in self.problems
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is counted: the sidecars of a ModelPolicy, or the endpoints of a MeshPolicy."""

    none: str = "NO SIDECAR"
    none_reason: str = "NoSidecar"
    none_message: str = "no sidecar carries the selector's labels in this namespace"
    plural: str = "sidecars"


SIDECARS = Unit()
ENDPOINTS = Unit(
    none="NO ENDPOINT",
    none_reason="NoEndpoint",
    none_message="no published ModelPolicy fits the selector",
    plural="endpoints",
)


def status_of(
    outcome: Outcome, proven: PolicyStatus, before: Mapping[str, Any], now: str, unit: Unit = SIDECARS
) -> Status:
    """The status to show. before: the one shown now, whose times of transition stay where nothing changes.

    now: RFC 3339, UTC.
    """
    accepted = outcome.fate == "Accepted"
    shown = _proven(proven, unit)
    summary = shown
    if not accepted:
        label = (
            "PENDING" if outcome.fate == "Waiting" else "INVALID" if outcome.fate == "Invalid" else "REFUSED"
        )
        summary = f"{label}, revision {proven.revision} {shown}" if proven.version else label
    conditions = [
        _condition(
            "Accepted", outcome.fate, _accepted_text(outcome), accepted, unknown=outcome.fate == "Waiting"
        ),
        _condition(
            "Published",
            "Published" if accepted else "OlderRevision" if proven.version else "Nothing",
            f"revision {proven.revision}, version {proven.version}"
            if proven.version
            else "nothing is published",
            accepted and proven.version > 0,
        ),
        _condition("Enforced", *_enforced(proven, unit), proven.enforced and accepted),
        _condition("Warning", *_warning(outcome), bool(outcome.warnings)),
    ]
    old = {each.get("type"): each for each in _listed(before.get("conditions"))}
    return Status(
        summary=summary,
        observed_generation=outcome.generation,
        revision=proven.revision,
        version=proven.version,
        enforced=proven.enforced_count,
        total=proven.total,
        conditions=tuple(_dated(each, old.get(each.type), outcome.generation, now) for each in conditions),
        problems=tuple(
            PolicyProblem(
                path=p.path[:_TEXT],
                code=p.code,
                message=p.message[:_TEXT],
                hint=p.hint[:_TEXT],
                document=p.document[:_TEXT],
            )
            for p in outcome.problems[:MOST_PROBLEMS]
        ),
        missing=tuple(
            InstanceReason(
                instance=one.instance_id, state=one.state, reason=one.reason[:_TEXT], path=one.path[:_TEXT]
            )
            for one in proven.instances
            if one.state != "enforced"
        )[:MOST_INSTANCES],
    )


def plain(status: Status) -> dict[str, Any]:
    """As JSON values, every field of the first level named: a merge patch then leaves nothing old behind."""
    made: dict[str, Any] = msgspec.to_builtins(status)
    return made


def differs(status: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    """Whether the object shows another status. Fields that are not ours count too: they are not to stand there."""
    return {key: value for key, value in shown.items() if value is not None} != dict(status)


def _proven(proven: PolicyStatus, unit: Unit) -> str:
    if not proven.version:
        return "PENDING"
    if not proven.total:
        return unit.none
    return f"{'ENFORCED' if proven.enforced else 'PENDING'} {proven.enforced_count}/{proven.total}"


def _enforced(proven: PolicyStatus, unit: Unit) -> tuple[str, str]:
    if not proven.version:
        return "NothingPublished", "no version is published"
    if not proven.total:
        return unit.none_reason, unit.none_message
    if proven.enforced:
        return "Proven", f"{proven.summary} {unit.plural} proved version {proven.version}"
    reasons = sorted({one.reason for one in proven.instances if one.state != "enforced"})
    return (
        "NotProven",
        f"{proven.summary} {unit.plural} proved version {proven.version}: {', '.join(reasons)}"[:_TEXT],
    )


def _accepted_text(outcome: Outcome) -> str:
    if not outcome.problems:
        return outcome.message[:_TEXT] or "the document is valid"
    lines = [f"{p.place}: {p.message}{f' ({p.hint})' if p.hint else ''}" for p in outcome.problems]
    return f"{outcome.message}: {'; '.join(lines)}"[:_MOST_WORDS]


def _warning(outcome: Outcome) -> tuple[str, str]:
    """The reason is that of the first one, in the form that Kubernetes wants."""
    if not outcome.warnings:
        return "None", "nothing to think about"
    lines = [f"{w.document}{', ' if w.document else ''}{w.path}: {w.message}" for w in outcome.warnings]
    return outcome.warnings[0].code.title().replace("_", ""), "; ".join(lines)[:_MOST_WORDS]


def _condition(
    kind: ConditionType, reason: str, message: str, holds: bool, *, unknown: bool = False
) -> Condition:
    state: Literal["True", "False", "Unknown"] = "Unknown" if unknown else "True" if holds else "False"
    return Condition(
        type=kind,
        status=state,
        reason=reason,
        message=message,
        last_transition_time="",
        observed_generation=0,
    )


def _dated(condition: Condition, old: Mapping[str, Any] | None, generation: int, now: str) -> Condition:
    since = str(old.get("lastTransitionTime", now)) if old and old.get("status") == condition.status else now
    return msgspec.structs.replace(condition, last_transition_time=since, observed_generation=generation)


def _listed(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
