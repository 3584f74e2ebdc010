"""A worker that is far behind turns checks away unread, with a 503 that says when to come back."""

from __future__ import annotations

import pytest

from bartizan.policy import names
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from sidecar.audit.record import Record
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire.engine import Call, answered
from sidecar.wire.ext_authz import METHOD, PATIENCE, ExtAuthz
from sidecar.wire.trace import Spans
from tests.support.guard import KEY, check_request, guard_plan, key_set
from tests.support.records import into


@pytest.mark.parametrize(
    ("waited", "cause"), [(0.0, "allowed"), (PATIENCE * 0.9, "allowed"), (PATIENCE * 1.1, "overloaded")]
)
async def test_a_check_that_waited_too_long_is_shed(waited: float, cause: str) -> None:
    current, records = Current(), list[Record]()
    current.put_plan(load_plan(guard_plan(), Buckets(clock=lambda: 0.0)))
    current.set_keys(key_set())
    handler = ExtAuthz(current=current, audit=into(records), spans=Spans())
    call = Call(method=METHOD, metadata={}, deadline=names.CHECK_SECONDS - waited, peer="")
    answer = CheckResponse.FromString(await answered(handler(call, check_request({"x-api-key": KEY}))))
    assert [record.cause for record in records] == [cause]
    if cause == "overloaded":
        headers = {entry.header.key: entry.header.value for entry in answer.denied_response.headers}
        assert (answer.denied_response.status.code, headers["retry-after"]) == (503, "1")
