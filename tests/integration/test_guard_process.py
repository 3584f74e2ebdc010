"""The real worker process answers ext_proc streams, and never ends one with OK before its last answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from bartizan.policy import names
from bartizan.policy.checks import Canary
from protos.gen.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2 as proc
from sidecar.agent.messages import Drop
from tests.support.guard import PROCESS, TRACE, GuardWorker, guard_plan, guard_worker

OUTPUT = (Canary(tokens=("canary-7f3a9c21",), action="cut"),)
IDENTITY = {"subject": "k1", "tenant": "acme", "method": "api_key", "key_id": "k1"}
HANDED = {
    "decision_id": "d" * 32,
    "revision": "1.1",
    "source_address": "2001:db8:1:2::3",
    "identity": IDENTITY,
}


@pytest_asyncio.fixture
async def worker() -> AsyncIterator[GuardWorker]:
    async with guard_worker() as running:
        await running.load(guard_plan(output=OUTPUT))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting() -> AsyncIterator[GuardWorker]:
    """One worker for all cases of a table: each leaves it as it was, with every record read."""
    async with guard_worker() as running:
        await running.load(guard_plan(output=OUTPUT))
        yield running


def headers(handed: dict[str, Any] | None = None, *, revision: str = "1.1", end: bool = False) -> bytes:
    message = proc.ProcessingRequest()
    request = message.request_headers
    for key, value in ((":method", "POST"), (":path", "/predict?q=1"), ("content-type", "application/json")):
        request.headers.headers.add(key=key, raw_value=value.encode())
    request.end_of_stream = end
    if handed is not None:
        message.metadata_context.filter_metadata[names.AUTHZ_METADATA].update({"handed": json.dumps(handed)})
    if revision:
        message.attributes["envoy.filters.http.ext_proc"].update({names.PROC_REVISION_ATTRIBUTE: revision})
    return message.SerializeToString()


def body(data: bytes) -> bytes:
    return proc.ProcessingRequest(
        request_body=proc.HttpBody(body=data, end_of_stream=True)
    ).SerializeToString()


def answer_headers(status: str = "200", content_type: str = "application/json") -> bytes:
    message = proc.ProcessingRequest()
    for key, value in ((":status", status), ("content-type", content_type)):
        message.response_headers.headers.headers.add(key=key, raw_value=value.encode())
    return message.SerializeToString()


def answer_body(data: bytes, *, end: bool) -> bytes:
    return proc.ProcessingRequest(
        response_body=proc.HttpBody(body=data, end_of_stream=end)
    ).SerializeToString()


class Stream:
    """One ext_proc stream as Envoy keeps it."""

    def __init__(self, worker: GuardWorker) -> None:
        open_call: Any = worker.wire.stream_stream(PROCESS)
        self.call = open_call(metadata=(("traceparent", TRACE),), timeout=60)

    async def say(self, message: bytes) -> None:
        await self.call.write(message)

    async def ask(self, message: bytes) -> proc.ProcessingResponse:
        await self.say(message)
        return proc.ProcessingResponse.FromString(await self.call.read())

    async def drain(self) -> None:
        while await self.call.read() != grpc.aio.EOF:
            pass

    async def close(self) -> grpc.StatusCode:
        await self.call.done_writing()
        assert await self.call.read() == grpc.aio.EOF
        code: grpc.StatusCode = await self.call.code()
        return code


async def test_the_reply_to_request_headers_switches_the_answer_on(worker: GuardWorker) -> None:
    stream = Stream(worker)
    reply = await stream.ask(headers(HANDED))
    assert reply.WhichOneof("response") == "request_headers"
    assert reply.mode_override.response_body_mode == ProcessingMode.FULL_DUPLEX_STREAMED
    assert reply.mode_override.response_header_mode == ProcessingMode.SEND
    assert "accept-encoding" in reply.request_headers.response.header_mutation.remove_headers
    assert (await stream.ask(body(b'{"text": "a"}'))).WhichOneof("response") == "request_body"
    await stream.say(answer_headers())
    await stream.say(answer_body(b'{"echo": ', end=False))
    first = await stream.ask(answer_body(b'"hi"}', end=True))
    assert first.WhichOneof("response") == "response_headers"
    second = proc.ProcessingResponse.FromString(await stream.call.read())
    streamed = second.response_body.response.body_mutation.streamed_response
    assert (streamed.body, streamed.end_of_stream) == (b'{"echo": "hi"}', True)
    assert await stream.close() is grpc.StatusCode.OK
    record = await worker.next_record()
    assert (record.id, record.source_address, record.cause) == ("d" * 32, "2001:db8:1::/48", "allowed")
    assert record.trace_id == TRACE.split("-")[1]


SO_FAR: dict[str, list[bytes]] = {
    "nothing": [],
    "request headers": [headers(HANDED)],
    "request body": [headers(HANDED), body(b'{"text": "a"}')],
    "answer headers": [headers(HANDED), body(b'{"text": "a"}'), answer_headers()],
    "half an answer": [
        headers(HANDED),
        body(b'{"text": "a"}'),
        answer_headers(),
        answer_body(b'{"echo"', end=False),
    ],
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.xdist_group("guard_process")
@pytest.mark.parametrize("stage", sorted(SO_FAR))
async def test_a_stream_that_ends_early_never_ends_with_ok(lasting: GuardWorker, stage: str) -> None:
    stream = Stream(lasting)
    for message in SO_FAR[stage]:
        await stream.say(message)
    await stream.call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError):
        await stream.drain()
    assert await stream.call.code() is not grpc.StatusCode.OK
    if SO_FAR[stage]:
        record = await lasting.next_record()
        assert record.unscanned_reason.split(",")[-1] in {"aborted", "no_answer_seen"}


async def test_a_cancelled_stream_leaves_its_record(worker: GuardWorker) -> None:
    stream = Stream(worker)
    await stream.ask(headers(HANDED))
    stream.call.cancel()
    assert "aborted" in (await worker.next_record()).unscanned_reason


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.xdist_group("guard_process")
@pytest.mark.parametrize(
    ("first", "cause"),
    [
        (headers(None), "context_missing"),
        (headers(HANDED, revision=""), "context_missing"),
        (headers({**HANDED, "revision": "1.2"}), "context_missing"),
        (headers({**HANDED, "identity": {"subject": "x"}}), "context_missing"),
        (headers({"decision_id": "d", "revision": "1.1"}), "context_missing"),
        (headers({**HANDED, "revision": "9.9"}, revision="9.9"), "revision_unknown"),
        (answer_headers(), "context_missing"),
        (b"\xff\xff", "fault"),
    ],
)
async def test_without_its_context_an_exchange_is_refused(
    lasting: GuardWorker, first: bytes, cause: str
) -> None:
    stream = Stream(lasting)
    reply = await stream.ask(first)
    assert reply.WhichOneof("response") == "immediate_response"
    assert reply.immediate_response.status.code == 503
    assert reply.immediate_response.details == f"ext_proc_bartizan_{cause}"
    record = await lasting.next_record()
    assert (record.cause, record.status) == (cause, 503)


async def test_a_message_that_can_not_come_now_is_a_fault_before_and_an_error_after_headers_went_out(
    worker: GuardWorker,
) -> None:
    stream = Stream(worker)
    await stream.ask(headers(HANDED))
    reply = await stream.ask(headers(HANDED))
    assert reply.immediate_response.status.code == 503
    assert (await worker.next_record()).cause == "fault"


async def test_a_running_exchange_keeps_its_plan_when_it_is_dropped(worker: GuardWorker) -> None:
    stream = Stream(worker)
    await stream.ask(headers(HANDED))
    await worker.channel.send(Drop(plan_id="1.1"))
    await worker.metrics()
    assert (await stream.ask(body(b'{"text": "a"}'))).WhichOneof("response") == "request_body"
    refused = await Stream(worker).ask(headers(HANDED))
    assert refused.immediate_response.status.code == 503


async def test_a_large_body_fits_one_message_and_holds_nobody_up(worker: GuardWorker) -> None:
    await worker.load(guard_plan(id="2.2", max_body_bytes=32 * 1024 * 1024))
    stream = Stream(worker)
    await stream.ask(headers({**HANDED, "revision": "2.2"}, revision="2.2"))
    big = b'{"text": "' + b"a" * (16 * 1024 * 1024) + b'"}'
    async with asyncio.timeout(60):
        assert (await stream.ask(body(big))).WhichOneof("response") == "request_body"
