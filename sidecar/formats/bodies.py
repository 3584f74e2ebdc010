"""Whole bodies of protocols whose JSON objects a reader knows: decoded, checked for doubtful spelling, listed as text.

Shared by openai.py, anthropic.py and ollama.py; what a body holds is told by their readers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import msgspec

from sidecar.formats.answers import decode_model_json, error_document
from sidecar.formats.base import Document, FormatError
from sidecar.formats.documents import ImageAt, JsonDocument, TextAt
from sidecar.formats.faults import MODEL_ERROR, take_traces
from sidecar.formats.identifiers import unlisted
from sidecar.formats.json_text import Path, decode
from sidecar.formats.media_type import demand_json
from sidecar.formats.openai_fields import IDS, UNREADABLE, shaped
from sidecar.formats.parameters import Table, parameters
from sidecar.formats.response_items import implied
from sidecar.formats.walk import WHOLE_NUMBERS, take_unreadable
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts

_DECIDING = frozenset({"model", "role", "type"})
_SHAPED = 128
_TYPED = frozenset(
    {"messages", "content", "system", "tools", "tool_calls", "prompt", "input", "output", "summary"}
)
"""Members whose elements are read by their type or role."""
_READ_APART = _DECIDING | IDS


class BodyReader(Protocol):
    """Walks one body and collects its texts. Raises FormatError for anything of an unexpected type."""

    @property
    def texts(self) -> Sequence[TextAt]: ...
    @property
    def unscanned(self) -> Sequence[str]: ...
    @property
    def objects(self) -> Sequence[Path]:
        """Where JSON objects are that call tools."""

    @property
    def images(self) -> Sequence[ImageAt]: ...
    def request(self, value: dict[str, Any]) -> None: ...
    def answer(self, value: dict[str, Any]) -> None: ...


def request_document(
    content_type: str,
    body: bytes,
    max_depth: int,
    reader: BodyReader,
    *,
    known: Collection[str],
    asks: Table,
    limits: Sequence[str],
    within: str = "",
    streams: bool = False,
) -> Document:
    """A client's request. `known` fields and those of `asks` may stand in one spelling only; `limits` name fields that bound the answer.

    `within`: the member that holds the limits. `streams`: whether an answer is streamed when the request doesn't say.
    """
    demand_json(content_type)
    text, value = decode(body, max_depth=max_depth, any_case=True)
    if not isinstance(value, dict):
        raise FormatError(Cause.MALFORMED_BODY, "the body is not an object")
    known = {*known, *asks}
    for key in value:  # some engines take "Model" for model: rules must have seen it
        if key not in known and key.casefold() in known:
            raise FormatError(Cause.MALFORMED_BODY, "a known field in another spelling")
    reader.request(value)
    facts = _facts(value, value.get(within) if within else value, limits, streams=streams)
    texts = [_as_read(at) for at in reader.texts]
    pictures = {at.path for at in reader.images if at.form != "stored"}
    texts += [
        at for at in unlisted(value, texts, most=_SHAPED) if shaped(at.text) and at.path not in pictures
    ]
    return JsonDocument(
        body,
        text,
        facts=facts,
        texts=texts,
        unscanned=reader.unscanned,
        parameters=parameters(value, asks),
        images=reader.images,
    )


def answer_document(
    content_type: str,
    status: int,
    body: bytes,
    max_depth: int,
    reader: BodyReader,
    *,
    conceal: bool,
    unsaid: Callable[[dict[str, Any]], Sequence[str]],
) -> Document:
    """A model's answer; one outside of 2xx by its strings. `conceal` takes out what says the text again unreadably.

    `unsaid` tells where it should say something and does not (unsaid.py).
    """
    if not 200 <= status < 300:
        return error_document(content_type, status, body, max_depth, UNREADABLE if conceal else ())
    text, value = decode_model_json(content_type, body, max_depth)
    if not isinstance(value, dict):
        raise FormatError(Cause.ANSWER_MALFORMED, "the answer is not an object")
    unreadable = take_unreadable(value, UNREADABLE)
    traces = take_traces(value)
    reader.answer(value)
    unscanned = dict.fromkeys((*reader.unscanned, *[MODEL_ERROR] * bool(traces)))
    unscanned |= dict.fromkeys(name for _, name in unreadable if not conceal or name == WHOLE_NUMBERS)
    hidden = [at for at, _ in unreadable] if conceal else []
    return JsonDocument(
        body,
        text,
        texts=[*reader.texts, *unlisted(value, reader.texts)],
        unscanned=tuple(unscanned),
        hidden=hidden,
        replaced=traces,
        images=reader.images,
        objects=reader.objects,
        implied=dict.fromkeys(unsaid(value), "") | implied(value),
    )


def _as_read(at: TextAt) -> TextAt:
    """A text of a request: one that engines go by is fixed, one that only says what belongs together an identifier."""
    *above, last = at.path
    if last not in _READ_APART or not _of_protocol(above):
        return at
    if last in _DECIDING:
        return msgspec.structs.replace(at, fixed=True)
    return msgspec.structs.replace(at, identifier=True) if shaped(at.text) else at


def _of_protocol(above: Sequence[str | int]) -> bool:
    """Whether a member is the body's or that of an element, not one deep in a tool's arguments."""
    return (not above or isinstance(above[-1], int)) and all(
        isinstance(step, int) or step in _TYPED for step in above
    )


def _facts(value: dict[str, Any], holder: Any, limits: Sequence[str], *, streams: bool) -> BodyFacts:
    """Strict types: an engine that coerces "true" to true would otherwise do what a rule did not see."""
    model, stream = value.get("model", ""), value.get("stream")
    if not isinstance(model, str) or not (stream is None or isinstance(stream, bool)):
        raise FormatError(Cause.MALFORMED_BODY, "model or stream is of the wrong type")
    most = 0
    for key in limits if isinstance(holder, dict) else ():
        limit = holder.get(key)
        if isinstance(limit, bool) or not (limit is None or isinstance(limit, int)):
            raise FormatError(Cause.MALFORMED_BODY, f"{key} is not a whole number")
        most = max(most, limit or 0)
    return BodyFacts(model=model, stream=streams if stream is None else stream, max_tokens=most)
