"""Sends the guard's finished spans as OTLP to the agent: a bounded queue, and one thread that encodes and sends batches.

A decision is queued as it is, for a tenth of what the SDK's span objects cost; a slow or absent receiver costs spans,
never requests.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from sidecar.checks.pipeline import Mark
from sidecar.wire.trace import DecisionSpans

SERVICE: Final = "bartizan-guard"
SCOPE: Final = "bartizan.guard"
MOST: Final = 2048
"""Decisions that wait; the oldest are dropped."""
BATCH: Final = 512
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_GATHER = 0.2  # seconds for which decisions are gathered
_TIMEOUT = 5.0
_SAMPLED, _FLAGS_KNOWN, _PARENT_REMOTE = 0x01, 0x100, 0x200  # OTLP's SpanFlags

log = get_logger()


class SpanExporter:
    """`put` never waits, from one thread; `close` sends what waits."""

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.insecure_channel(endpoint)
        self._export = self._channel.unary_unary(
            _METHOD,
            request_serializer=ExportTraceServiceRequest.SerializeToString,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        self._waiting: deque[DecisionSpans] = deque(maxlen=MOST)
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def put(self, spans: DecisionSpans) -> None:
        """Queue the spans of one decision."""
        if len(self._waiting) == MOST:
            metrics.SPANS_DROPPED.labels("worker_queue_full").inc()
        self._waiting.append(spans)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Send what waits; blocks for at most the time of one batch."""
        self._closing.set()
        self._some.set()
        self._thread.join(_TIMEOUT)
        self._channel.close()

    def _run(self) -> None:
        while True:
            self._some.wait()
            closing = self._closing.wait(_GATHER)
            self._some.clear()
            while self._waiting:
                count = min(BATCH, len(self._waiting))
                if not self._send([self._waiting.popleft() for _ in range(count)]) and closing:
                    return
            if closing:
                return

    def _send(self, batch: Sequence[DecisionSpans]) -> bool:
        try:
            self._export(encode(batch), timeout=_TIMEOUT, wait_for_ready=not self._closing.is_set())
        except grpc.RpcError as error:
            metrics.SPANS_DROPPED.labels("agent").inc(len(batch))
            log.warning("spans_dropped", count=len(batch), reason=error.code().name)
            return False
        except Exception as error:  # the thread must outlive a span that can't be written
            metrics.SPANS_DROPPED.labels("unwritable").inc(len(batch))
            log.error("spans_dropped", count=len(batch), reason=type(error).__name__)
            return False
        return True


def encode(batch: Sequence[DecisionSpans]) -> ExportTraceServiceRequest:
    """For each decision one span over all its marks, with a child for each mark."""
    spans: list[Span] = []
    for decision in batch:
        parent, marks = decision.parent, decision.marks
        trace_id = bytes.fromhex(parent.trace_id) if parent.trace_id else os.urandom(16)
        above = bytes.fromhex(parent.span_id)
        ids = os.urandom(8 * (len(marks) + 1))
        spans.append(
            Span(
                trace_id=trace_id,
                span_id=ids[:8],
                parent_span_id=above,
                name=decision.name,
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=marks[0][1],
                end_time_unix_nano=max(end for _, _, end in marks),
                attributes=_attributes(decision.attributes),
                flags=_SAMPLED | _FLAGS_KNOWN | (_PARENT_REMOTE if above else 0),
            )
        )
        spans += [
            _child(mark, trace_id, ids[:8], ids[8 * at : 8 * at + 8]) for at, mark in enumerate(marks, 1)
        ]
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    resource.scope_spans[0].scope.name = SCOPE
    resource.resource.attributes.extend(_attributes({"service.name": SERVICE}))
    return ExportTraceServiceRequest(resource_spans=[resource])


def _child(mark: Mark, trace_id: bytes, above: bytes, own: bytes) -> Span:
    phase, start, end = mark
    return Span(
        trace_id=trace_id,
        span_id=own,
        parent_span_id=above,
        name=f"bartizan.{phase}",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        flags=_SAMPLED | _FLAGS_KNOWN,
    )


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]
