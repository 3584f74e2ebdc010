"""One decision as evidence. Never holds text of a request or answer, header values or credentials."""

from __future__ import annotations

from typing import Literal

import msgspec


class FindingRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A finding's kind and place; `direction` says whether of the request or of the answer."""

    check: str
    kind: str
    action: str
    location: str = ""
    direction: Literal["", "request", "response"] = ""


class Record(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="decision", tag_field="type"
):
    """Every decision makes one."""

    id: str
    """The decision id that the client sees in x-bartizan-decision: 32 hex digits, random; names.RECORD_* at its end
    marks a further record of the same decision."""
    time: float
    """Seconds since the epoch."""
    policy: str
    revision: str
    """The plan id."""
    source: Literal["guard", "envoy"]
    phase: Literal["native", "authn", "admission", "authz", "request", "response", "guard"]
    action: Literal["allow", "flag", "redact", "cut", "deny"]
    cause: str
    status: int
    """What the client got. 0: let pass; the answer was not seen (no output checks, or the client left before it)."""
    method: str = ""
    path: str = ""
    """The declared route's path; "" for undeclared ones (paths may hold personal data)."""
    tenant: str = ""
    key_id: str = ""
    subject_hash: str = ""
    findings: tuple[FindingRecord, ...] = ()
    detail: str = ""
    request_bytes: int = 0
    request_scanned: int = 0
    response_bytes: int = 0
    response_scanned: int = 0
    unscanned_reason: str = ""
    shadow: bool = False
    """True when mode: shadow let pass what this record says would have been blocked."""
    trace_id: str = ""
    source_address: str = ""
    """Truncated: /24 for IPv4, /48 for IPv6."""
    instance_id: str = ""


class Gap(msgspec.Struct, frozen=True, kw_only=True, tag="gap", tag_field="type"):
    """Records that were lost: how many, between when, and why."""

    id: str
    time: float
    since: float
    lost: int
    reason: str
    instance_id: str = ""


AuditRecord = Record | Gap
