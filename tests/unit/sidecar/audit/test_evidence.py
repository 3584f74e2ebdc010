"""Audit records: who, what and why, never whole addresses, subjects or undeclared paths."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.audit.evidence import decision_record, truncated_address
from sidecar.checks.admission.request_rate import Buckets
from sidecar.model.decision import Cause, deny
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
