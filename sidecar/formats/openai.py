"""The OpenAI protocol: chat and plain completions, responses, embeddings and moderations, as vLLM and others serve them.

Text is recognised by the fields of the body (openai_reader.py), not by the path, so that an engine's alias of a path
is read the same. Streams are in openai_stream.py and responses_stream.py.
"""

from __future__ import annotations

import json

from sidecar.formats import parameters, unsaid
from sidecar.formats.answers import readable
from sidecar.formats.base import AnswerStream, Document
from sidecar.formats.bodies import answer_document, request_document
from sidecar.formats.json_text import DEFAULT_DEPTH
from sidecar.formats.media_type import is_event_stream
from sidecar.formats.openai_reader import LIMITS, READ_IN_REQUESTS, OpenAIReader
from sidecar.formats.openai_stream import openai_stream
from sidecar.formats.responses_stream import responses_stream
from sidecar.model.decision import Cause


class OpenAIFormat:
    """JSON bodies and SSE answers of the OpenAI API.

    `conceal`: answers lose what would say their text again where no check reads it (token ids, log probabilities).
    """

    name = "openai"

    def __init__(self, *, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> None:
        self._max_depth = max_depth
        self._conceal = conceal

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        reader = OpenAIReader(Cause.MALFORMED_BODY, self._max_depth)
        return request_document(
            content_type,
            body,
            self._max_depth,
            reader,
            known=READ_IN_REQUESTS,
            asks=parameters.OPENAI,
            limits=LIMITS,
        )

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:  # noqa: ARG002
        reader = OpenAIReader(Cause.ANSWER_MALFORMED, self._max_depth)
        return answer_document(
            content_type,
            status,
            body,
            self._max_depth,
            reader,
            conceal=self._conceal,
            unsaid=unsaid.of_openai,
        )

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:  # noqa: ARG002
        return readable(content_type, status) or (status < 300 and is_event_stream(content_type))

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:
        if not is_event_stream(content_type):
            return None
        if path.rstrip("/").endswith("/responses"):
            return responses_stream(max_depth=self._max_depth, conceal=self._conceal)
        return openai_stream(
            legacy=not path.rstrip("/").endswith("/chat/completions"),
            max_depth=self._max_depth,
            conceal=self._conceal,
        )

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        named = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
        error = {"message": message, "type": named, "param": None, "code": f"bartizan_{decision_id}"}
        return "application/json", json.dumps({"error": error}).encode()
