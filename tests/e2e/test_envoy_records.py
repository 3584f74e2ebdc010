"""What Envoy reports to the access-log service: refusals, and what the guard drew, with all that spans are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bartizan.policy import names
from protos.gen.envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from protos.gen.envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from sidecar.agent.bootstrap import ALS_SOCKET, OTLP_SOCKET
from sidecar.audit.access_log import InForce, native_record, tags_of
from tests.support.entry_spans import entry_spans

pytestmark = pytest.mark.e2e


@dataclass(slots=True)
class Records:
    """What arrived at the agent's sockets."""

    entries: list[HTTPAccessLogEntry] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


class AccessLogs(als_pb2_grpc.AccessLogServiceServicer):
    def __init__(self, records: Records) -> None:
        self.records = records

    async def StreamAccessLogs(self, messages: Any, context: Any) -> als_pb2.StreamAccessLogsResponse:  # noqa: N802
        async for message in messages:
            self.records.entries.extend(message.http_logs.log_entry)
        return als_pb2.StreamAccessLogsResponse()


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, records: Records) -> None:
        self.records = records

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.records.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
async def records(stack: Any) -> AsyncIterator[Records]:
    found = Records()
    server = grpc.aio.server()
    als_pb2_grpc.add_AccessLogServiceServicer_to_server(AccessLogs(found), server)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(found), server)  # type: ignore[no-untyped-call]
    for name in (ALS_SOCKET, OTLP_SOCKET):
        server.add_insecure_port(f"unix:{Path(stack.run_dir) / name}")
    await server.start()
    yield found
    await server.stop(None)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.02)


async def test_every_refusal_is_logged_with_its_decision_id_and_no_success_is(
    stack: Any, records: Records
) -> None:
    asked = [
        (stack.url, {}, 200),
        (stack.url, {"x-api-key": "deny"}, 503),
        (stack.url + "/undeclared", {}, 404),
        (stack.url, {"x_under_score": "1"}, 400),
        (stack.url, {"connection": "upgrade", "upgrade": "other"}, 403),
    ]
    decisions = set()
    for url, headers, status in asked:
        async with stack.client.post(url, data=b"x", headers=headers) as answer:
            assert answer.status == status, url
            if status != 200:
                decisions.add(answer.headers[names.HEADER_DECISION])
    await until(lambda: len(records.entries) >= len(asked) - 1)
    logged = {entry.response.response_headers[names.HEADER_DECISION] for entry in records.entries}
    assert logged == decisions
    details = {
        entry.response.response_code.value: entry.response.response_code_details for entry in records.entries
    }
    assert details == {
        503: "ext_authz_denied",
        404: "direct_response",
        400: "http1.unexpected_underscore",
        403: "upgrade_failed",
    }
    (denied,) = (entry for entry in records.entries if entry.response.response_code.value == 503)
    assert denied.common_properties.custom_tags["revision"] == "4.9"
    assert "trace_id" not in tags_of(denied), "Envoy has no tracer"
    assert names.AUTHZ_METADATA in denied.common_properties.metadata.filter_metadata


async def test_no_client_chooses_the_id_or_the_trace_of_a_refusal(stack: Any, records: Records) -> None:
    theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
    _, _, address = stack.url.partition("://")
    host, _, port = address.partition("/")[0].partition(":")
    lines = {
        "missing_host_header": "GET / HTTP/1.1\r\n",
        "path_normalization_failed": "GET /a%2fb HTTP/1.1\r\nhost: a\r\n",
        "upgrade_failed": "GET /v1/predict HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n",
        "direct_response": "GET /undeclared HTTP/1.1\r\nhost: a\r\n",
    }
    for line in lines.values():
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{line}x-request-id: {theirs}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        writer.close()
    await until(lambda: len(records.entries) >= len(lines))
    assert {entry.response.response_code_details for entry in records.entries} == lines.keys()
    for entry in records.entries:
        record = native_record(entry, InForce("p", "4.9", "i"))
        assert record is not None
        assert theirs not in record.id, entry.response.response_code_details
        assert record.trace_id != theirs, entry.response.response_code_details
        assert all(span.trace_id.hex() != theirs for span in entry_spans(entry))


async def test_what_a_client_breaks_off_or_writes_wrong_is_recorded_whatever_it_speaks(
    stack: Any, records: Records
) -> None:
    host, _, port = stack.url.partition("://")[2].partition("/")[0].partition(":")
    resets = [_frame(3, 0, 1, code.to_bytes(4)) for code in (7, 8)]  # REFUSED_STREAM, CANCEL
    cut = [b"POST /v1/pre", b"POST /v1/predict HTTP/1.1\r\nhost: a\r\nx", _opened()]
    sent = [(words, "client_gone") for words in (*cut, *(_opened() + reset for reset in resets))]
    for words, cause in (*sent, (_opened(Upper="1"), "protocol")):
        records.entries.clear()
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(words)
        await writer.drain()
        await asyncio.sleep(0.1)  # Envoy forgets what was not read when its peer is gone
        writer.close()
        await until(lambda: len(records.entries) == 1)
        record = native_record(records.entries[0], InForce("p", "4.9", "i"))
        assert record is not None
        assert (record.cause, bool(record.id)) == (cause, True)


def _opened(**more: str) -> bytes:
    """A request's headers in HTTP/2, in letters as they are; its body is to follow."""
    fields = {":method": "POST", ":scheme": "http", ":path": "/v1/predict", ":authority": "a", **more}
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(1, 4, 1, block)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


async def test_what_the_guard_drew_is_logged_with_all_that_its_spans_need(
    stack: Any, records: Records
) -> None:
    theirs = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "x-request-id": "not-a-uuid"}
    for drawn in ({}, {"x-api-key": "draw"}):
        async with stack.client.post(
            stack.url + "?secret=1", data=b"x", headers={**theirs, **drawn}
        ) as answer:
            assert answer.status == 200
    await until(lambda: len(records.entries) > 0)
    (entry,) = records.entries
    root, model = entry_spans(entry)
    assert (root.name, model.name) == ("ingress POST /v1/predict", "router model egress")
    assert model.parent_span_id == root.span_id
    assert not root.parent_span_id
    assert root.trace_id == model.trace_id != bytes.fromhex("1" * 32)
    assert root.start_time_unix_nano < model.start_time_unix_nano
    assert model.end_time_unix_nano <= root.end_time_unix_nano
    said = {each.key: each.value.string_value for each in root.attributes}
    assert 0 < int(said["bartizan.check_us"]) < 10_000_000, "how long Envoy waited for the guard"
    assert all(b"secret" not in span.SerializeToString() for span in (root, model))
    assert "traceparent" not in stack.seen.model[-1][0], "the client's is dropped; ours would be the guard's"
    assert not records.spans
