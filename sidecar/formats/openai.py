"""The OpenAI protocol: chat completions, completions and embeddings, as vLLM and others serve them.

Text is recognised by the fields of the body (openai_reader.py), not by the path, so that an engine's alias of a path
is read the same. Streams are in openai_stream.py.
"""

from __future__ import annotations

import json
from typing import Any

from sidecar.formats.answers import decode_model_json, error_document, readable
from sidecar.formats.base import AnswerStream, Document, FormatError
from sidecar.formats.documents import JsonDocument
from sidecar.formats.json_text import DEFAULT_DEPTH, decode
from sidecar.formats.media_type import demand_json, is_utf8, kind
from sidecar.formats.openai_fields import UNREADABLE
from sidecar.formats.openai_reader import READ_IN_REQUESTS, OpenAIReader
from sidecar.formats.openai_stream import OpenAIStream
from sidecar.formats.walk import take_unreadable
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts


class OpenAIFormat:
    """JSON bodies and SSE answers of the OpenAI API.

    `conceal`: answers lose what would say their text again where no check reads it (token ids, log probabilities).
    """

    name = "openai"

    def __init__(self, *, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> None:
        self._max_depth = max_depth
        self._conceal = conceal

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        demand_json(content_type)
        text, value = decode(body, max_depth=self._max_depth, any_case=True)
        if not isinstance(value, dict):
            raise FormatError(Cause.MALFORMED_BODY, "the body is not an object")
        _demand_spelling(value)
        reader = OpenAIReader(Cause.MALFORMED_BODY, self._max_depth)
        reader.request(value)
        return JsonDocument(body, text, facts=_facts(value), texts=reader.texts, unscanned=reader.unscanned)

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:  # noqa: ARG002
        if not 200 <= status < 300:
            return error_document(
                content_type, status, body, self._max_depth, UNREADABLE if self._conceal else ()
            )
        text, value = decode_model_json(content_type, body, self._max_depth)
        if not isinstance(value, dict):
            raise FormatError(Cause.ANSWER_MALFORMED, "the answer is not an object")
        unreadable = take_unreadable(value, UNREADABLE)
        reader = OpenAIReader(Cause.ANSWER_MALFORMED, self._max_depth)
        reader.answer(value)
        if self._conceal:
            hidden = [at for at, _ in unreadable]
            return JsonDocument(body, text, texts=reader.texts, unscanned=reader.unscanned, hidden=hidden)
        passed = dict.fromkeys((*reader.unscanned, *(name for _, name in unreadable)))
        return JsonDocument(body, text, texts=reader.texts, unscanned=tuple(passed))

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:
        return readable(content_type, status) or (
            status < 300 and self.answer_stream(path, content_type) is not None
        )

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:
        if kind(content_type) != "text/event-stream" or not is_utf8(content_type):
            return None
        return OpenAIStream(
            legacy=not path.rstrip("/").endswith("/chat/completions"),
            max_depth=self._max_depth,
            conceal=self._conceal,
        )

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        named = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
        error = {"message": message, "type": named, "param": None, "code": f"bartizan_{decision_id}"}
        return "application/json", json.dumps({"error": error}).encode()


def _demand_spelling(value: dict[str, Any]) -> None:
    """Some engines take "Model" for model: rules must have seen it."""
    for key in value:
        if key not in READ_IN_REQUESTS and key.casefold() in READ_IN_REQUESTS:
            raise FormatError(Cause.MALFORMED_BODY, "a known field in another spelling")


def _facts(value: dict[str, Any]) -> BodyFacts:
    """Strict types: an engine that coerces "true" to true would otherwise do what a rule did not see."""
    model, stream = value.get("model", ""), value.get("stream")
    if not isinstance(model, str) or not (stream is None or isinstance(stream, bool)):
        raise FormatError(Cause.MALFORMED_BODY, "model or stream is of the wrong type")
    limits = [0]
    for key in ("max_tokens", "max_completion_tokens"):
        limit = value.get(key)
        if isinstance(limit, bool) or not (limit is None or isinstance(limit, int)):
            raise FormatError(Cause.MALFORMED_BODY, f"{key} is not a whole number")
        limits.append(limit or 0)
    return BodyFacts(model=model, stream=stream is True, max_tokens=max(limits))
