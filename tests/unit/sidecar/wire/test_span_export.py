"""What the guard's spans say as OTLP."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.wire.span_export import encode
from sidecar.wire.trace import NO_PARENT, DecisionSpans, Parent

PARENT = Parent(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331", sampled=True)
MARKS = (("authn", 10, 30), ("authz", 15, 20))


def decision(parent: Parent = PARENT) -> DecisionSpans:
    return DecisionSpans(
        name="bartizan.check",
        parent=parent,
        marks=MARKS,
        decision_id="d1",
        attributes=(("bartizan.cause", "x"),),
    )


def encoded(*batch: DecisionSpans) -> list[Span]:
    (resource,) = ExportTraceServiceRequest.FromString(encode(batch)).resource_spans
    named = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert named == {"service.name": "bartizan-guard"}
    (scope,) = resource.scope_spans
    assert scope.scope.name == "bartizan.guard"
    return list(scope.spans)


def test_a_decision_is_one_span_over_its_phases_below_envoys() -> None:
    top, *children = encoded(decision())
    assert (top.trace_id.hex(), top.parent_span_id.hex()) == (PARENT.trace_id, PARENT.span_id)
    assert (top.name, top.kind) == ("bartizan.check", Span.SPAN_KIND_SERVER)
    assert (top.start_time_unix_nano, top.end_time_unix_nano) == (10, 30), (
        "the last end, whichever phase has it"
    )
    assert {item.key: item.value.string_value for item in top.attributes} == {
        "bartizan.decision_id": "d1",
        "bartizan.cause": "x",
    }
    assert top.flags & 0x300 == 0x300, "the parent is another process's"
    assert [child.name for child in children] == ["bartizan.authn", "bartizan.authz"]
    for child in children:
        assert (child.trace_id, child.parent_span_id) == (top.trace_id, top.span_id)
        assert child.flags & 0x300 == 0x100


def test_every_span_has_an_id_of_its_own() -> None:
    spans = encoded(decision(), decision())
    assert len({span.span_id for span in spans}) == 6
    assert all(len(span.span_id) == 8 and len(span.trace_id) == 16 for span in spans)


def test_without_envoys_span_a_trace_begins_here() -> None:
    (one, *_), (other, *_) = encoded(decision(NO_PARENT)), encoded(decision(NO_PARENT))
    assert one.parent_span_id == b""
    assert one.trace_id != other.trace_id
    assert one.flags & 0x200 == 0
