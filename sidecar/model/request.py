"""One HTTP request as checks see it, made by wire/translate_check.py and translate.py from Envoy's messages."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Mapping
from typing import ClassVar, Literal, final

from sidecar.model.value import Value

REQUEST_ID = "x-request-id"
"""Drawn by Envoy, whatever a client sent under that name."""
_TRACE_DIGITS = 32
_LONGEST_BRIEF = 512


class RequestHead(Value, frozen=True, kw_only=True):
    """The request line and headers. Header names are lower case; several values are joined with a comma.

    Those of ext_authz are Envoy's own message, where `[]` would add a missing name: ask `in` before it, or `get`. `in` costs
    least, and most headers that are asked for are not there.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"headers", "query", "target"})

    stream_id: str
    """Envoy's own id of the stream: unique per attempt chain, not settable by clients."""
    method: str
    path: str
    """Without query, as normalised by Envoy."""
    headers: Mapping[str, str]
    source_address: str
    """The peer's address without port."""
    target: str = ""
    """The path as it was sent, with its query; only where a body may be read."""
    query: str = ""
    """What followed the path behind a question mark."""
    trace_id: str = ""
    """32 hex digits: of Envoy's trace, from the call's own metadata; of the request's id where Envoy has no tracer."""


def trace_of(request_id: str) -> str:
    """The trace id of a request for which Envoy has no tracer: its id, a UUID, as 32 hex digits; "" for anything else."""
    digits = request_id.replace("-", "")
    try:
        written = unhexlify(digits).hex()  # a third of what a pattern takes
    except ValueError:
        return ""
    return digits if written == digits and len(digits) == _TRACE_DIGITS else ""


def ingress_span_id(trace_id: str) -> str:
    """The id of the span over the whole request, where Envoy has no tracer: whoever knows the trace knows it."""
    return trace_id[16:]


def model_span_id(trace_id: str) -> str:
    """The id of the span over the model's part, likewise."""
    return trace_id[:16]


@final
class Identity(Value, frozen=True, kw_only=True, cache_hash=True):
    """Who calls, as an authentication method proved it. Outcomes are kept by it, so that it is hashed often."""

    subject: str
    tenant: str
    method: Literal["api_key", "jwt"]
    key_id: str = ""
    plan: str = ""
    region: str = ""
    models: tuple[str, ...] = ()

    @property
    def brief(self) -> bool:
        """Whether outcomes are kept by it. A token may name its subject, or what else a policy takes of it, in 6 KB, and
        thousands of these would be kept for nothing but names.
        """
        return len(self.subject) + len(self.tenant) + len(self.plan) + len(self.region) <= _LONGEST_BRIEF


class BodyFacts(Value, frozen=True, kw_only=True):
    """What authorization rules may ask of a decoded body."""

    model: str = ""
    stream: bool = False
    max_tokens: int = 0
