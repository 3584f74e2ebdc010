"""A decision -> its audit record. Names kinds and places, never text, header values, credentials or whole addresses."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from bartizan.telemetry import metrics
from sidecar.audit.note import Case, Note, case_of
from sidecar.audit.record import FindingRecord, Record
from sidecar.model.decision import Cause, Decision
from sidecar.model.finding import Action, Finding
from sidecar.model.kept import Kept
from sidecar.model.request import Identity, RequestHead
from sidecar.model.value import Value

if TYPE_CHECKING:  # the agent makes records too, without a pipeline
    from sidecar.checks.pipeline import Mark, Phase
    from sidecar.exchange import Exchange
    from sidecar.plan.plan import Plan

ActionName = Literal["allow", "flag", "redact", "cut", "deny"]


class Coverage(Value, frozen=True, kw_only=True):
    """How much of the bodies was looked at, in bytes, and why not all of it."""

    request_bytes: int = 0
    request_scanned: int = 0
    response_bytes: int = 0
    response_scanned: int = 0
    unscanned_reason: str = ""


NOTHING_SEEN = Coverage()
MAX_FINDINGS = 256
"""So many the control plane takes in one record."""
_MAX_LOCATION = 512
_MORE = "more_findings"
_ACTION_NAMES = {action: cast("ActionName", action.name.lower()) for action in Action}


@lru_cache(maxsize=4096)
def truncated_address(address: str) -> str:
    """/24 for IPv4, /48 for IPv6, "" for anything else."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    network = ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False)
    return str(network)


def subject_hash(subject: str) -> str:
    """Tells callers apart without naming them."""
    return hashlib.sha256(subject.encode()).hexdigest()[:32]


def action_name(action: Action) -> ActionName:
    """As records and metrics spell it."""
    return _ACTION_NAMES[action]


def finding_records(findings: Sequence[Finding]) -> tuple[FindingRecord, ...]:
    """Findings without anything but kind and place: of very many the strongest, and that there were more."""
    if not findings:
        return ()
    if len(findings) > MAX_FINDINGS:
        findings = sorted(findings, key=lambda finding: -finding.action)
        findings = [
            *findings[: MAX_FINDINGS - 1],
            replace(findings[MAX_FINDINGS - 1], check="audit", kind=_MORE, location="", direction=""),
        ]
    return tuple(
        FindingRecord(
            check=f.check,
            kind=f.kind,
            action=action_name(f.action),
            location=f.location[:_MAX_LOCATION],
            direction=f.direction,
        )
        for f in findings
    )


def decision_note(
    decision: Decision,
    *,
    decision_id: str,
    time: float,
    instance_id: str,
    plan: Plan | None,
    revision: str,
    head: RequestHead,
    phase: Phase,
    status: int,
    identity: Identity | None,
    shadow: bool = False,
) -> Note:
    """Everything that audit keeps about a request of which only the head was judged."""
    method, path = head.method, head.path
    case = _CASES[
        identity,
        plan.policy if plan else "",
        revision,
        phase,
        decision.action,
        decision.cause,
        status,
        method[:16],
        path if plan and (method, path) in plan.routes else "",
        decision.detail,
        shadow,
        instance_id,
    ]
    return Note(
        case=case,
        id=decision_id,
        time=time,
        trace_id=head.trace_id,
        source_address=truncated_address(head.source_address),
    )


def decision_record(
    decision: Decision,
    *,
    decision_id: str,
    time: float,
    instance_id: str,
    plan: Plan | None,
    revision: str,
    head: RequestHead,
    phase: Phase,
    status: int,
    identity: Identity | None,
    coverage: Coverage = NOTHING_SEEN,
    shadow: bool = False,
) -> Record:
    """Everything that audit keeps about one request."""
    note = decision_note(
        decision,
        decision_id=decision_id,
        time=time,
        instance_id=instance_id,
        plan=plan,
        revision=revision,
        head=head,
        phase=phase,
        status=status,
        identity=identity,
        shadow=shadow,
    )
    return msgspec.structs.replace(
        note.record,
        findings=finding_records(decision.findings),
        request_bytes=coverage.request_bytes,
        request_scanned=coverage.request_scanned,
        response_bytes=coverage.response_bytes,
        response_scanned=coverage.response_scanned,
        unscanned_reason=coverage.unscanned_reason,
    )


def _case(
    identity: Identity | None,
    policy: str,
    revision: str,
    phase: Phase,
    action: Action,
    cause: Cause,
    status: int,
    method: str,
    path: str,
    detail: str,
    shadow: bool,
    instance_id: str,
) -> Case:
    """Of all requests of one caller that are decided alike."""
    return case_of(
        Record(
            id="",
            time=0.0,
            policy=policy,
            revision=revision[:64],
            source="guard",
            phase=phase,
            action=action_name(action),
            cause=cause.value,
            status=status,
            method=method,
            path=path,
            tenant=identity.tenant if identity else "",
            key_id=identity.key_id if identity else "",
            subject_hash=subject_hash(identity.subject) if identity else "",
            detail=detail,
            shadow=shadow,
            instance_id=instance_id,
        )
    )


_CASES: Final = Kept(_case, 1024)


def exchange_record(
    exchange: Exchange, *, decision_id: str, time: float, instance_id: str, revision: str
) -> Record:
    """What audit keeps of a request whose body was judged, and of its answer where that was."""
    trail = exchange.trail
    return decision_record(
        exchange.decision,
        decision_id=decision_id,
        time=time,
        instance_id=instance_id,
        plan=exchange.plan,
        revision=revision,
        head=exchange.head,
        phase=exchange.phase,
        status=exchange.status,
        identity=exchange.identity,
        coverage=Coverage(
            request_bytes=trail.request_bytes,
            request_scanned=trail.request_scanned,
            response_bytes=trail.response_bytes,
            response_scanned=trail.response_scanned,
            unscanned_reason=",".join(trail.unscanned),
        ),
        shadow=exchange.shadowed,
    )


def refusal_record(
    decision: Decision,
    *,
    decision_id: str,
    time: float,
    instance_id: str,
    revision: str = "",
    trace_id: str = "",
) -> Record:
    """What audit keeps of a request that the guard refused before it knew more of it."""
    return decision_record(
        decision,
        decision_id=decision_id,
        time=time,
        instance_id=instance_id,
        plan=None,
        revision=revision,
        head=RequestHead(stream_id="", method="", path="", headers={}, source_address="", trace_id=trace_id),
        phase="guard",
        status=decision.status,
        identity=None,
    )


def count(record: Record) -> None:
    """The same decision as metrics: labels are bounded sets."""
    metrics.DECISIONS.inc(record.phase, record.action, record.cause)
    for finding in record.findings:
        metrics.FINDINGS.inc(finding.check, finding.kind, finding.action)


def time_marks(marks: Sequence[Mark]) -> None:
    """Times of phases."""
    metrics.PHASE_SECONDS.observe(marks)
