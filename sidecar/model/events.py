"""What happens in one HTTP exchange and what the guard answers: input and output of sidecar/exchange.py.

wire/translate.py makes the events from Envoy's messages and Envoy's messages from the replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bartizan.policy.names import HEADER_DECISION
from sidecar.model.decision import Decision
from sidecar.model.value import Value

PIECE = 60 * 1024
"""Envoy takes at most 64 KiB in one streamed piece."""


_BODY = frozenset({"data"})
_HEADERS = frozenset({"headers", "query", "target"})


class RequestHeaders(Value, frozen=True, kw_only=True):
    """`end`: no body follows."""

    hidden: ClassVar[frozenset[str]] = _HEADERS

    method: str
    path: str
    headers: Mapping[str, str]
    end: bool
    query: str = ""
    """What followed the path behind a question mark."""
    target: str = ""
    """The path with its query."""


class RequestBody(Value, frozen=True, kw_only=True):
    """The whole body (Envoy buffers it)."""

    hidden: ClassVar[frozenset[str]] = _BODY

    data: bytes


class RequestTrailers(Value, frozen=True, kw_only=True):
    """Trailers of the request."""


class AnswerHeaders(Value, frozen=True, kw_only=True):
    """Status line and headers of the model's answer. `end`: no body follows."""

    hidden: ClassVar[frozenset[str]] = _HEADERS

    status: int
    headers: Mapping[str, str]
    end: bool

    @property
    def of_envoy(self) -> bool:
        """Its own word of a model that is away: the route takes this header from what a model says."""
        return self.status >= 500 and HEADER_DECISION in self.headers


class AnswerBody(Value, frozen=True, kw_only=True):
    """A piece of the answer, split anywhere."""

    hidden: ClassVar[frozenset[str]] = _BODY

    data: bytes
    end: bool


class AnswerTrailers(Value, frozen=True, kw_only=True):
    """Trailers end the answer in place of a last piece."""


Event = RequestHeaders | RequestBody | RequestTrailers | AnswerHeaders | AnswerBody | AnswerTrailers


class PassRequestHeaders(Value, frozen=True, kw_only=True):
    """`inspect_answer` asks Envoy to send the answer too; the model must then not compress it."""

    inspect_answer: bool


class PassRequestBody(Value, frozen=True, kw_only=True):
    """None: as it came. Otherwise the new body, with its length."""

    hidden: ClassVar[frozenset[str]] = _BODY

    data: bytes | None = None


class PassRequestTrailers(Value, frozen=True, kw_only=True):
    """Trailers go on as they are."""


class PassAnswerHeaders(Value, frozen=True, kw_only=True):
    """The answer's headers go to the client now; its length is left open. A content type replaces the model's."""

    content_type: str = ""
    without: tuple[str, ...] = ()
    """Headers that are taken out."""


class AnswerData(Value, frozen=True, kw_only=True):
    """Bytes for the client; `end` ends the answer there, and with it the model's work; `cut`: before the model did."""

    hidden: ClassVar[frozenset[str]] = _BODY

    data: bytes
    end: bool
    cut: bool = False


class PassAnswerTrailers(Value, frozen=True, kw_only=True):
    """Trailers go on as they are."""


class Refuse(Value, frozen=True, kw_only=True):
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


def in_pieces(data: bytes, *, end: bool, cut: bool = False) -> list[AnswerData]:
    """An answer's bytes as Envoy takes them; the last piece carries `end`, which may stand alone."""
    if len(data) <= PIECE:  # as nearly always
        return [AnswerData(data=data, end=end, cut=cut)] if data or end else []
    return [
        AnswerData(data=data[at : at + PIECE], end=end and last, cut=cut and last)
        for at in range(0, len(data), PIECE)
        for last in (at + PIECE >= len(data),)
    ]
