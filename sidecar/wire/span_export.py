"""Writes the guard's finished spans as OTLP, for span_queue.py: no object of the SDK is made on the way (ADR 66)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from sidecar.audit.span_bytes import (
    FLAGS_KNOWN,
    INTERNAL,
    PARENT_REMOTE,
    SAMPLED,
    SERVER,
    attributes,
    ended,
    named,
    request,
    span,
)
from sidecar.wire.trace import DecisionSpans

SERVICE: Final = "bartizan-guard"
SCOPE: Final = "bartizan.guard"
_OURS: Final = SAMPLED | FLAGS_KNOWN


def encode(batch: Sequence[DecisionSpans]) -> bytes:
    """An ExportTraceServiceRequest: for each decision one span over all its marks, with a child for each mark."""
    spans: list[bytes] = []
    for decision in batch:
        spans += _of_decision(decision)
    return request(spans, SCOPE, {"service.name": SERVICE})


def _of_decision(decision: DecisionSpans) -> list[bytes]:
    parent, marks = decision.parent, decision.marks
    trace_id = bytes.fromhex(parent.trace_id) if parent.trace_id else os.urandom(16)
    above = bytes.fromhex(parent.span_id)
    ids = os.urandom(8 * (len(marks) + 1))
    own, inside = ids[:8], ended(_OURS)
    whole = span(
        trace_id,
        own,
        above,
        named(decision.name, SERVER),
        (marks[0][1], max([end for _, _, end in marks])),
        attributes(decision.attributes),
        ended=ended(_OURS | PARENT_REMOTE) if above else inside,
    )
    children = [
        span(
            trace_id,
            ids[8 * at : 8 * at + 8],
            own,
            named(f"bartizan.{phase}", INTERNAL),
            (start, end),
            ended=inside,
        )
        for at, (phase, start, end) in enumerate(marks, 1)
    ]
    return [whole, *children]
