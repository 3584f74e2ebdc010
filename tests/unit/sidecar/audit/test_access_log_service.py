"""What the agent makes of the streams in which Envoy sends its access log."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from protos.gen.envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from protos.gen.envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from sidecar.audit.access_log import AccessLogService, InForce
from sidecar.audit.ledger import Ledger
from sidecar.audit.record import Record

PROBE = "/probe"


def entry(path: str = "/predict", details: str = "ext_authz_error", status: int = 503) -> HTTPAccessLogEntry:
    made = HTTPAccessLogEntry()
    made.common_properties.stream_id = "6a1b1c9e-0000-4000-8000-000000000000"
    made.common_properties.route_name = "POST /predict"
    made.common_properties.custom_tags["revision"] = "1.1"
    made.request.path = path
    made.request.request_id = "9f0c1d2e-3b4a-4c5d-8e6f-708192a3b4c5"
    made.response.response_code.value = status
    made.response.response_code_details = details
    return made


async def stream(*entries: HTTPAccessLogEntry) -> AsyncIterator[StreamAccessLogsMessage]:
    for each in entries:
        message = StreamAccessLogsMessage()
        message.http_logs.log_entry.append(each)
        yield message


@pytest.mark.parametrize("collector", [True, False])
async def test_entries_become_records_and_spans_where_somebody_takes_them(collector: bool) -> None:
    records: list[bytes] = []
    spans: list[bytes] = []
    ledger = Ledger()
    service = AccessLogService(
        records.extend,
        spans.append if collector else None,
        lambda: InForce("default/p", "1.1", "i"),
        PROBE,
        lambda: ledger,
    )
    await service.StreamAccessLogs(
        stream(entry(), entry(PROBE), entry(details="via_upstream", status=200)), None
    )
    (record,) = (msgspec.json.decode(raw, type=Record) for raw in records)
    assert (record.cause, record.trace_id) == ("guard_unavailable", "9f0c1d2e3b4a4c5d8e6f708192a3b4c5")
    sent = [ExportTraceServiceRequest.FromString(raw) for raw in spans if raw]
    names = [span.name for request in sent for span in request.resource_spans[0].scope_spans[0].spans]
    assert names == ["ingress POST /predict"] * collector
    assert ledger.received == 3, "entries of which nothing is made came, too"
