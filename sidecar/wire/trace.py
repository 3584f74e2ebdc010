"""Spans of the guard, made after the fact from phase times: an unsampled request costs nothing but its clock reads.

Where Envoy has no tracer, the guard draws which requests are traced, by their id. Where it has one, its span arrives in
the call's metadata (traceparent), and its sampling is followed. Denied and cut requests are always exported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bartizan.policy import names
from sidecar.checks.pipeline import Mark
from sidecar.model.request import ingress_span_id, model_span_id
from sidecar.model.value import Value

_ODD = "13579bdf"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Parent(Value, frozen=True, kw_only=True):
    """Envoy's span around the call."""

    trace_id: str = ""
    span_id: str = ""
    sampled: bool = False


NO_PARENT = Parent()
Attributes = tuple[tuple[str, str], ...]
"""Of a span: names and values."""


def parent_of(metadata: Mapping[str, str]) -> Parent:
    """The caller's span, or NO_PARENT when there is none or it is malformed."""
    text = metadata.get("traceparent")
    if not text or _TRACEPARENT.fullmatch(text) is None:
        return NO_PARENT
    return Parent(trace_id=text[3:35], span_id=text[36:52], sampled=text[54] in _ODD)


def drawn_below(steps: int) -> str:
    """Where Envoy has no tracer, requests whose trace id is less are traced: `steps` of names.TRACE_STEPS. By the id, so that
    whoever asks again gets the same answer; Envoy draws it, a client's is dropped. "" for none.
    """
    if steps >= names.TRACE_STEPS:
        return "g"  # behind all digits
    return f"{(steps << 32) // names.TRACE_STEPS:08x}" if steps > 0 else ""


def below_ingress(trace_id: str, *, sampled: bool) -> Parent:
    """The span that the agent will make of Envoy's access log (sidecar/audit/request_spans.py)."""
    if not trace_id:
        return NO_PARENT
    return Parent(trace_id=trace_id, span_id=ingress_span_id(trace_id), sampled=sampled)


def traceparent(trace_id: str, *, sampled: bool) -> str:
    """What the model is told, so that its own spans hang below the span over its part. Its last digit says whether it is traced."""
    span_id = model_span_id(trace_id)
    return f"00-{trace_id}-{span_id}-01" if sampled else f"00-{trace_id}-{span_id}-00"


class DecisionSpans(Value, frozen=True, kw_only=True):
    """What one decision exports: a span over all `marks`, and a child for each."""

    name: str
    parent: Parent
    marks: Sequence[Mark]
    decision_id: str
    attributes: Attributes


@dataclass(slots=True, kw_only=True)
class Spans:
    """Hands on the spans of decisions to `export` (set when the agent says that somebody takes them); without it there are none."""

    export: Callable[[DecisionSpans], None] | None = None

    def wants(self, parent: Parent, *, always: bool) -> bool:
        """Whether a decision is exported: ask before making attributes for `emit`."""
        return self.export is not None and (parent.sampled or always)

    def emit(
        self, name: str, parent: Parent, marks: Sequence[Mark], decision_id: str, attributes: Attributes
    ) -> None:
        """One span over all marks with a child for each; times in nanoseconds since the epoch."""
        if self.export is not None and marks:
            self.export(
                DecisionSpans(
                    name=name,
                    parent=parent,
                    marks=tuple(marks),
                    decision_id=decision_id,
                    attributes=attributes,
                )
            )


def attributes_of(revision: str, cause: str, action: str, tenant: str | None) -> Attributes:
    """What the spans of all decisions of a case say. `tenant` is None where nobody is known."""
    said = (("bartizan.revision", revision), ("bartizan.cause", cause), ("bartizan.action", action))
    return said if tenant is None else (*said, ("bartizan.tenant", tenant))
