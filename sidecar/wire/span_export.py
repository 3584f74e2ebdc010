"""Writes the guard's finished spans as OTLP, for span_queue.py: no object of the SDK is made on the way (ADR 66)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from sidecar.audit.span_bytes import (
    FLAGS_KNOWN,
    INTERNAL,
    PARENT_REMOTE,
    SAMPLED,
    SERVER,
    attribute,
    attributes,
    below,
    ended,
    named,
    of_trace,
    request,
    span,
)
from sidecar.wire.trace import DecisionSpans

SERVICE: Final = "bartizan-guard"
SCOPE: Final = "bartizan.guard"
_ENDED: Final = ended(SAMPLED | FLAGS_KNOWN)
_ENDED_REMOTE: Final = ended(SAMPLED | FLAGS_KNOWN | PARENT_REMOTE)


def encode(batch: Sequence[DecisionSpans]) -> bytes:
    """An ExportTraceServiceRequest: for each decision one span over all its marks, with a child for each mark."""
    spans: list[bytes] = []
    for decision in batch:
        spans += _of_decision(decision)
    return request(spans, SCOPE, {"service.name": SERVICE})


def _of_decision(decision: DecisionSpans) -> list[bytes]:
    parent, marks = decision.parent, decision.marks
    began = of_trace(bytes.fromhex(parent.trace_id) if parent.trace_id else os.urandom(16))
    ids = os.urandom(8 * (len(marks) + 1))
    own = ids[:8]
    said = attribute("bartizan.decision_id", decision.decision_id) + attributes(decision.attributes)
    top, above = named(decision.name, SERVER), b""
    rest = said + _ENDED
    if parent.span_id:
        above, rest = below(bytes.fromhex(parent.span_id)), said + _ENDED_REMOTE
    spans = [span(began, own, above, top, marks[0][1], max([end for _, _, end in marks]), rest)]
    inside, at = below(own), 8
    for phase, start, end in marks:
        spans.append(span(began, ids[at : at + 8], inside, _named(phase), start, end, _ENDED))
        at += 8
    return spans


@lru_cache(maxsize=64)
def _named(phase: str) -> bytes:
    return named(f"bartizan.{phase}", INTERNAL)
