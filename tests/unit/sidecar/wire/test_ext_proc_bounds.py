"""Bounds of withheld answers: time and memory. What exceeds them is refused, never passed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bartizan.policy import names
from bartizan.policy.bundle import GuardPlan
from bartizan.policy.checks import Canary
from bartizan.policy.schema import Route
from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2 as proc
from sidecar.audit.record import Record
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire.engine import Call, CallFailed
from sidecar.wire.ext_proc import METHOD, ExtProc, Holdings
from sidecar.wire.trace import Spans
from tests.support.guard import TRACE, guard_plan

CALL = Call(method=METHOD, metadata={"traceparent": TRACE}, deadline=None, peer="")
IDENTITY = {"subject": "k1", "tenant": "acme", "method": "api_key"}


def handler(records: list[Record], plan: GuardPlan | None = None, **bounds: Any) -> ExtProc:
    current = Current()
    plan = plan or guard_plan(output=(Canary(tokens=("canary-7f3a9c21",), action="cut"),))
    current.put_plan(load_plan(plan, Buckets(clock=time.monotonic)))
    return ExtProc(current=current, audit=records.append, spans=Spans(), **bounds)


def until_withheld() -> list[proc.ProcessingRequest]:
    first = proc.ProcessingRequest()
    for key, value in ((":method", "POST"), (":path", "/predict"), ("content-type", "application/json")):
        first.request_headers.headers.headers.add(key=key, raw_value=value.encode())
    handed: dict[str, Any] = {"decision_id": "d" * 32, "revision": "1.1", "identity": IDENTITY}
    first.metadata_context.filter_metadata[names.AUTHZ_METADATA].update({"handed": json.dumps(handed)})
    first.attributes["envoy.filters.http.ext_proc"].update({names.PROC_REVISION_ATTRIBUTE: "1.1"})
    answer = proc.ProcessingRequest()
    for key, value in ((":status", "200"), ("content-type", "application/json")):
        answer.response_headers.headers.headers.add(key=key, raw_value=value.encode())
    return [
        first,
        proc.ProcessingRequest(request_body=proc.HttpBody(body=b'{"text": "a"}', end_of_stream=True)),
        answer,
    ]


def piece(data: bytes) -> proc.ProcessingRequest:
    return proc.ProcessingRequest(response_body=proc.HttpBody(body=data))


def stream(
    messages: list[proc.ProcessingRequest], *, then: Callable[[], Any] | None = None
) -> Callable[[], AsyncIterator[bytes]]:
    async def feed() -> AsyncIterator[bytes]:
        for message in messages:
            yield message.SerializeToString()
        if then is not None:
            await then()

    return feed


async def last_reply(tested: ExtProc, feed: Callable[[], AsyncIterator[bytes]]) -> proc.ProcessingResponse:
    replies = [reply async for reply in tested(CALL, feed())]
    return proc.ProcessingResponse.FromString(replies[-1])


async def test_a_model_that_never_finishes_its_answer_is_refused() -> None:
    records: list[Record] = []
    silent = stream([*until_withheld(), piece(b'{"echo')], then=asyncio.Event().wait)
    reply = await last_reply(handler(records, answer_seconds=0.01), silent)
    assert reply.immediate_response.status.code == 503
    assert [(record.cause, record.phase) for record in records] == [("deadline", "response")]


async def test_withheld_answers_share_a_bound_and_give_their_share_back() -> None:
    records: list[Record] = []
    holdings = Holdings(most=10)
    tested = handler(records, holdings=holdings)
    reply = await last_reply(tested, stream([*until_withheld(), piece(b"x" * 6), piece(b"x" * 6)]))
    assert reply.immediate_response.status.code == 503
    assert [record.cause for record in records] == ["overloaded"]
    assert holdings.now == 0
    with pytest.raises(CallFailed):
        await last_reply(tested, stream([*until_withheld(), piece(b"x" * 6)]))
    assert holdings.now == 0
    assert records[-1].unscanned_reason == "no_input_checks,aborted"


def many_texts() -> list[proc.ProcessingRequest]:
    """A small body of many texts."""
    first, request, _ = until_withheld()
    request.request_body.body = json.dumps({"texts": ["a"] * 500}).encode()
    return [first, request]


MANY = guard_plan(
    routes=(Route(path="/predict", input_text=("$.texts[*]",)),),
    input=(Canary(tokens=("canary-7f3a9c21",), action="cut"),),
)


async def test_many_small_texts_do_not_hold_other_requests_up() -> None:
    judged_by: set[int] = set()

    def clock() -> int:
        judged_by.add(threading.get_ident())
        return 0

    reply = await last_reply(handler([], MANY, clock_ns=clock), stream(many_texts()))
    assert reply.HasField("request_body")
    assert threading.get_ident() not in judged_by


async def test_nothing_is_judged_any_more_when_the_stream_is_gone() -> None:
    entered, goes_on = asyncio.Event(), threading.Event()
    loop, calls = asyncio.get_running_loop(), []

    def clock() -> int:
        calls.append("now")
        if len(calls) == 3:  # decoded and authorized; the texts come next
            loop.call_soon_threadsafe(entered.set)
            assert goes_on.wait(20)
        return 0

    async with asyncio.TaskGroup() as group:
        task = group.create_task(last_reply(handler([], MANY, clock_ns=clock), stream(many_texts())))
        await entered.wait()
        task.cancel()
    goes_on.set()
    await loop.shutdown_default_executor()
    assert calls == ["now"] * 3
