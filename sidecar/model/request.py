"""One HTTP request as checks see it. Imports nothing: made by wire/translate.py from Envoy's messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """The request line and headers. Header names are lower case; several values are joined with a comma."""

    stream_id: str
    """Envoy's own id of the stream: unique per attempt chain, not settable by clients."""
    method: str
    path: str
    """Without query, as normalised by Envoy."""
    headers: Mapping[str, str] = field(repr=False)
    source_address: str
    """The peer's address without port."""
    query: bool = False
    """Whether a query that is not empty followed the path."""
    trace_id: str = ""
    """32 hex digits of Envoy's trace, from the call's own metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls, as an authentication method proved it."""

    subject: str
    tenant: str
    method: Literal["api_key", "jwt"]
    key_id: str = ""
    plan: str = ""
    region: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyFacts:
    """What authorization rules may ask of a decoded body."""

    model: str = ""
    stream: bool = False
    max_tokens: int = 0
