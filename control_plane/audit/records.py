"""A decision record as the control plane takes it from a sidecar: known fields within bounds, nothing else is kept.

The mirror of the sidecar's own type (the two sides share the JSON, not the code); a test compares the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from control_plane.store.base import AuditRow

MAX_RECORD_BYTES = 32 * 1024
_FUTURE_SECONDS = 24 * 3600.0

Id = Annotated[str, Meta(pattern=r"^[0-9a-fA-F-]{16,64}$")]
Short = Annotated[str, Meta(max_length=64)]
Name = Annotated[str, Meta(max_length=160)]
Text = Annotated[str, Meta(max_length=512)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Time = Annotated[float, Meta(ge=0)]


class FindingRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finding's kind and place, and whether of the request or of the answer."""

    check: Short
    kind: Name
    action: Short
    location: Text = ""
    direction: Literal["", "request", "response"] = ""


class Decision(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="decision", tag_field="type"
):
    """What sidecar/audit/record.py calls Record; see there for the meaning of each field."""

    id: Id
    time: Time
    policy: Name
    revision: Short
    source: Literal["guard", "envoy"]
    phase: Literal["native", "authn", "admission", "authz", "request", "response", "guard"]
    action: Literal["allow", "flag", "redact", "cut", "deny"]
    cause: Short
    status: Annotated[int, Meta(ge=0, le=999)]
    method: Short = ""
    path: Text = ""
    tenant: Annotated[str, Meta(max_length=128)] = ""
    key_id: Short = ""
    subject_hash: Annotated[str, Meta(max_length=128)] = ""
    findings: Annotated[tuple[FindingRecord, ...], Meta(max_length=256)] = ()
    detail: Text = ""
    request_bytes: Count = 0
    request_scanned: Count = 0
    response_bytes: Count = 0
    response_scanned: Count = 0
    unscanned_reason: Text = ""
    shadow: bool = False
    trace_id: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?$")] = ""
    source_address: Short = ""
    instance_id: Short = ""


class Gap(msgspec.Struct, frozen=True, kw_only=True, tag="gap", tag_field="type"):
    """Records that were lost: how many, since when, and why."""

    id: Id
    time: Time
    since: Time
    lost: Count
    reason: Short
    instance_id: Short = ""


_DECODER: msgspec.json.Decoder[Decision | Gap] = msgspec.json.Decoder(Decision | Gap)


def rows(records: Sequence[bytes], instance_id: str, now: float) -> list[AuditRow]:
    """Rows to store. Those that are no records leave one Gap: evidence never goes missing in silence.

    The instance id is the verified one, whatever a record says.
    """
    taken, refused = [], []
    for raw in records:
        row = _row(raw, instance_id, now)
        if row is None:
            refused.append(raw)
        else:
            taken.append(row)
    if refused:
        # derived from what was refused, so that the same batch again makes the same gap
        digest = hashlib.sha256(instance_id.encode() + b"".join(sorted(refused))).hexdigest()[:32]
        gap = Gap(
            id=digest,
            time=now,
            since=now,
            lost=len(refused),
            reason="invalid_record",
            instance_id=instance_id,
        )
        taken.append(_gap_row(gap, now))
    return taken


def _row(raw: bytes, instance_id: str, now: float) -> AuditRow | None:
    if len(raw) > MAX_RECORD_BYTES:
        return None
    try:
        record = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if record.time > now + _FUTURE_SECONDS:
        return None
    record = msgspec.structs.replace(record, instance_id=instance_id)
    if isinstance(record, Gap):
        return _gap_row(record, now)
    return AuditRow(
        id=record.id,
        time=record.time,
        json=_canonical(record),
        tenant=_column(record.tenant),
        policy=_column(record.policy),
        cause=_column(record.cause),
        action=record.action,
        phase=record.phase,
        trace_id=record.trace_id,
        key_id=_column(record.key_id),
        source=record.source,
        instance_id=instance_id,
        received_at=now,
    )


def _gap_row(gap: Gap, now: float) -> AuditRow:
    return AuditRow(
        id=gap.id,
        time=gap.time,
        json=_canonical(gap),
        type="gap",
        cause=_column(gap.reason),
        instance_id=gap.instance_id,
        received_at=now,
    )


def _column(text: str) -> str:
    """A tenant comes from a caller's token: with a NUL, which PostgreSQL takes in no text, it must not keep the batch out."""
    return text.replace("\0", "\ufffd")


def _canonical(record: Decision | Gap) -> str:
    return msgspec.json.encode(record, order="deterministic").decode()
