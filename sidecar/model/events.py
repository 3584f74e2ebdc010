"""What happens in one HTTP exchange and what the guard answers: input and output of sidecar/exchange.py.

wire/translate.py makes the events from Envoy's messages and Envoy's messages from the replies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.model.decision import Decision

PIECE = 60 * 1024
"""Envoy takes at most 64 KiB in one streamed piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaders:
    """`end`: no body follows."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    end: bool
    query: bool = False
    """A query that is not empty followed the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBody:
    """The whole body (Envoy buffers it)."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTrailers:
    """Trailers of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHeaders:
    """Status line and headers of the model's answer. `end`: no body follows."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerBody:
    """A piece of the answer, split anywhere."""

    data: bytes = field(repr=False)
    end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTrailers:
    """Trailers end the answer in place of a last piece."""


Event = RequestHeaders | RequestBody | RequestTrailers | AnswerHeaders | AnswerBody | AnswerTrailers


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRequestHeaders:
    """`inspect_answer` asks Envoy to send the answer too; the model must then not compress it."""

    inspect_answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRequestBody:
    """None: as it came. Otherwise the new body, with its length."""

    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRequestTrailers:
    """Trailers go on as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassAnswerHeaders:
    """The answer's headers go to the client now; its length is left open. A content type replaces the model's."""

    content_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerData:
    """Bytes for the client; `end` ends the answer there, and with it the model's work."""

    data: bytes = field(repr=False)
    end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PassAnswerTrailers:
    """Trailers go on as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer in place of the model. Only before answer headers went out. `status` overrides the cause's own."""

    decision: Decision
    proves: bool = False
    """A probe was refused as it must be: the answer carries the proof."""
    status: int | None = None


Reply = (
    PassRequestHeaders
    | PassRequestBody
    | PassRequestTrailers
    | PassAnswerHeaders
    | AnswerData
    | PassAnswerTrailers
    | Refuse
)


def in_pieces(data: bytes, *, end: bool) -> Iterator[AnswerData]:
    """An answer's bytes as Envoy takes them; the last piece carries `end`, which may stand alone."""
    for at in range(0, len(data) or end, PIECE):
        yield AnswerData(data=data[at : at + PIECE], end=end and at + PIECE >= len(data))
