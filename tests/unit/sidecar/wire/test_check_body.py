"""A body that comes with the ext_authz call: whole or refused, never changed, in time, and on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest

from bartizan.policy import names
from bartizan.policy.checks import InputCheck, Pii, Secrets
from bartizan.tasks import cancel, start
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from sidecar.audit.record import Record
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire.engine import Call, answered
from sidecar.wire.ext_authz import METHOD, ExtAuthz
from sidecar.wire.trace import Spans
from tests.support.guard import KEY, check_request, guard_plan, key_set
from tests.support.records import into

EMAIL = json.dumps({"text": "write to jane@example.org"}).encode()
HEAVY = json.dumps({"text": "hi", "rest": ["a"] * 400}).encode()


def asked(body: bytes, length: int | None = None) -> bytes:
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    headers["content-length"] = str(len(body) if length is None else length)
    request = CheckRequest.FromString(check_request(headers))
    request.attributes.context_extensions[names.BODY] = "1"
    request.attributes.request.http.raw_body = body
    return request.SerializeToString()


def handler(records: list[Record], *checks: InputCheck, clock: Iterator[float] | None = None) -> ExtAuthz:
    current = Current()
    current.put_plan(load_plan(guard_plan(input=checks), Buckets(clock=lambda: 0.0)))
    current.set_keys(key_set())
    times = clock or repeat(0.0)
    return ExtAuthz(current=current, audit=into(records), spans=Spans(), clock=lambda: next(times))


def call(deadline: float | None = None) -> Call:
    return Call(method=METHOD, metadata={}, deadline=deadline, peer="")


def status(reply: bytes) -> int:
    """The refusal's, 0 when the request may go on."""
    return int(CheckResponse.FromString(reply).denied_response.status.code)


@pytest.mark.parametrize(
    ("check", "expected", "cause", "action"),
    [
        (Pii(action="deny"), 403, "content_denied", "deny"),
        (Pii(action="flag"), 0, "allowed", "flag"),
        (Secrets(action="deny"), 0, "allowed", "allow"),
    ],
)
async def test_the_body_decides_and_leaves_one_record(
    check: InputCheck, expected: int, cause: str, action: str
) -> None:
    records: list[Record] = []
    assert status(await answered(handler(records, check)(call(), asked(EMAIL)))) == expected
    (record,) = records
    assert (record.phase, record.cause, record.action, record.status) == ("request", cause, action, expected)
    assert (record.tenant, record.request_bytes) == ("acme", len(EMAIL))


@pytest.mark.parametrize("length", [len(EMAIL) + 1, len(EMAIL) - 1, 0])
async def test_half_a_body_is_refused_and_not_judged(length: int) -> None:
    records: list[Record] = []
    assert status(await answered(handler(records, Pii(action="flag"))(call(), asked(EMAIL, length)))) == 503
    assert [record.cause for record in records] == ["fault"]


async def test_a_changed_body_is_a_fault_because_this_call_cannot_carry_it() -> None:
    records: list[Record] = []
    assert status(await answered(handler(records, Pii(action="redact"))(call(), asked(EMAIL)))) == 503
    assert [record.cause for record in records] == ["fault"]


async def test_a_verdict_on_a_body_that_comes_too_late_is_a_refusal() -> None:
    # the handler looks at the clock when the call comes, after the head's checks and after the body's
    records: list[Record] = []
    late = handler(records, Pii(action="flag"), clock=chain([0.0, 0.1], repeat(5.0)))
    assert status(await answered(late(call(deadline=2.0), asked(EMAIL)))) == 503
    assert [(record.cause, record.status) for record in records] == [("deadline", 503)]


async def test_a_heavy_body_leaves_the_loop_and_a_caller_that_is_gone_leaves_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[Record] = []
    begun, forever = asyncio.Event(), asyncio.Event()

    async def hanging(*_: Any) -> None:
        begun.set()
        await forever.wait()

    monkeypatch.setattr("sidecar.wire.check_body.asyncio.to_thread", hanging)
    async with asyncio.TaskGroup() as group:
        asking = start(
            group, answered(handler(records, Pii(action="flag"))(call(), asked(HEAVY))), name="ask"
        )
        await begun.wait()
        await cancel(asking)
    assert asking.cancelled()
    assert [record.unscanned_reason for record in records] == ["aborted"]
