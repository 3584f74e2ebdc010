"""Which bodies are inspected in a thread, so that they do not hold other requests of this worker up."""

from __future__ import annotations

from sidecar.exchange import Exchange
from sidecar.model.events import AnswerBody, AnswerTrailers, Event, RequestBody
from sidecar.model.stage import Stage

OFFLOAD = 64 * 1024
OFFLOAD_QUOTES = 256
"""A body from this size on, or with this many quotation marks (two or more for each text of a JSON body), is heavy."""

# an attribute of an enum's class costs as much as a call, and this is asked for every piece of a stream
_WITHHELD, _STREAMED = Stage.WITHHELD, Stage.STREAMED


def heavy(*pieces: bytes | bytearray) -> bool:
    """Whether these together take long to inspect."""
    size = 0
    for piece in pieces:
        size += len(piece)
    if size < OFFLOAD_QUOTES:
        return False
    return size >= OFFLOAD or sum(piece.count(b'"') for piece in pieces) >= OFFLOAD_QUOTES


def takes_long(exchange: Exchange, event: Event) -> bool:
    """Whether the exchange is to take this event in a thread."""
    stage, asks = exchange.stage, exchange.plan.answers_ask
    if isinstance(event, AnswerBody) and stage is not _WITHHELD:  # as most often
        if len(event.data) < OFFLOAD_QUOTES:
            return asks and stage is _STREAMED
        return (asks and stage is _STREAMED) or heavy(event.data)
    match event:
        case AnswerTrailers() if asks and stage is Stage.STREAMED:
            return True
        case AnswerBody(data=data, end=end):
            return (asks or heavy(data, exchange.held)) if end else heavy(data)
        case AnswerTrailers():
            return stage is Stage.WITHHELD and (asks or heavy(exchange.held))
        case RequestBody(data=data):
            return exchange.plan.asks_children or heavy(data)
        case _:
            return stage in {Stage.START, Stage.REQUEST_BODY} and exchange.plan.asks_children
