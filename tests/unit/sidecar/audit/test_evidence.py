"""Audit records: who, what and why, never whole addresses, subjects or undeclared paths."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.audit.evidence import NOTHING_SEEN, Coverage, decision_record, truncated_address
from sidecar.audit.record import Record
from sidecar.checks.admission.request_rate import Buckets
from sidecar.model.decision import Cause, Decision, deny
from sidecar.model.finding import Action, Finding
from sidecar.model.request import Identity, RequestHead
from sidecar.plan.load import load_plan
from tests.support.guard import guard_plan


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("unix:/tmp/x", ""),
        ("", ""),
    ],
)
def test_addresses_are_truncated(address: str, kept: str) -> None:
    assert truncated_address(address) == kept


def test_a_record_holds_kinds_and_hashes_only() -> None:
    head = RequestHead(
        stream_id="1",
        method="POST",
        path="/people/jane@example.org",
        headers={"authorization": "Bearer secret-value"},
        source_address="203.0.113.77",
    )
    record = decision_record(
        decision_id="d",
        time=1.0,
        instance_id="i",
        plan=load_plan(guard_plan(), Buckets(clock=lambda: 0.0)),
        revision="1.1",
        head=head,
        phase="request",
        decision=deny(
            Cause.CONTENT_DENIED,
            findings=(Finding(check="pii", kind="email", action=Action.DENY, location="$.text"),),
        ),
        status=403,
        identity=Identity(subject="jane@example.org", tenant="acme", method="jwt"),
    )
    encoded = msgspec.json.encode(record).decode()
    for secret in ("jane", "secret-value", "203.0.113.77"):
        assert secret not in encoded
    assert (record.path, record.tenant, record.action) == ("", "acme", "deny")
    assert len(record.subject_hash) == 32
    assert record.findings[0].kind == "email"


def test_records_of_one_case_share_nothing_that_is_each_requests_own() -> None:
    plan = load_plan(guard_plan(), Buckets(clock=lambda: 0.0))
    found = (Finding(check="pii", kind="email", action=Action.FLAG, location="$.text"),)

    def record(number: int, findings: tuple[Finding, ...] = (), coverage: Coverage = NOTHING_SEEN) -> Record:
        head = RequestHead(
            stream_id=str(number),
            method="POST",
            path="/x",
            headers={},
            source_address=f"203.0.{number}.77",
            trace_id=f"{number:032x}",
        )
        return decision_record(
            decision_id=f"d{number}",
            time=float(number),
            instance_id="i",
            plan=plan,
            revision="1.1",
            head=head,
            phase="request",
            decision=Decision(cause=Cause.ALLOWED, action=Action.ALLOW, findings=findings),
            status=0,
            identity=Identity(subject="s", tenant="acme", method="jwt"),
            coverage=coverage,
        )

    full = record(1, found, Coverage(request_bytes=7, request_scanned=6, unscanned_reason="image_url"))
    bare = record(2)
    assert (full.request_bytes, full.request_scanned, full.unscanned_reason) == (7, 6, "image_url")
    assert [each.kind for each in full.findings] == ["email"]
    assert (bare.id, bare.time, bare.trace_id, bare.source_address) == (
        "d2",
        2.0,
        f"{2:032x}",
        "203.0.2.0/24",
    )
    assert (bare.request_bytes, bare.unscanned_reason, bare.findings) == (0, "", ())
    assert (full.tenant, full.subject_hash) == (bare.tenant, bare.subject_hash)
