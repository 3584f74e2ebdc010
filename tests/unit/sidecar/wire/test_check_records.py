"""What the head's check leaves as evidence: a status only where it gave the answer, an id that no other record has."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.policy import names
from sidecar.audit.record import Record
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire.engine import Call, answered
from sidecar.wire.ext_authz import METHOD, ExtAuthz
from sidecar.wire.trace import Spans
from tests.support.guard import KEY, check_request, guard_plan, key_set
from tests.support.records import into


@pytest.mark.parametrize(
    ("tenants", "mode", "content", "key", "expected"),
    [
        (("acme",), "enforce", False, KEY, ("", "allowed", 0, False)),
        (("acme",), "enforce", True, KEY, None),
        (("acme",), "enforce", True, "", ("", "missing_credentials", 401, False)),
        (("other",), "enforce", True, KEY, ("", "tenant_not_allowed", 403, False)),
        (("other",), "shadow", False, KEY, ("", "tenant_not_allowed", 0, True)),
        (("other",), "shadow", True, KEY, (names.RECORD_HEAD, "tenant_not_allowed", 0, True)),
        (("other",), "shadow", True, "", ("", "missing_credentials", 401, False)),
    ],
)
async def test_a_record_says_what_the_check_knows(
    tenants: tuple[str, ...], mode: Any, content: bool, key: str, expected: tuple[object, ...] | None
) -> None:
    current, records = Current(), list[Record]()
    plan = guard_plan(tenants=tenants, mode=mode)
    current.put_plan(load_plan(plan, Buckets(clock=lambda: 0.0)))
    current.set_keys(key_set())
    handler = ExtAuthz(current=current, audit=into(records), spans=Spans(), new_id=lambda: "d" * 32)
    headers = {"x-api-key": key} if key else {}
    call = Call(method=METHOD, metadata={}, deadline=None, peer="")
    await answered(handler(call, check_request(headers, content=content)))
    seen = [
        (record.id.removeprefix("d" * 32), record.cause, record.status, record.shadow) for record in records
    ]
    assert seen == ([] if expected is None else [expected])
