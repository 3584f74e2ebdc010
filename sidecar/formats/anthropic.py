"""The Anthropic Messages protocol, as Anthropic, vLLM, llama.cpp and Ollama serve it.

Blocks are read by anthropic_reader.py, streams by anthropic_stream.py.
"""

from __future__ import annotations

import json

from bartizan.anthropic_errors import error_type
from sidecar.formats import parameters, unsaid
from sidecar.formats.answers import readable
from sidecar.formats.anthropic_reader import READ_IN_REQUESTS, AnthropicReader
from sidecar.formats.anthropic_stream import anthropic_stream
from sidecar.formats.base import AnswerStream, Document
from sidecar.formats.bodies import answer_document, request_document
from sidecar.formats.json_text import DEFAULT_DEPTH
from sidecar.formats.media_type import is_event_stream
from sidecar.model.decision import Cause


class AnthropicFormat:
    """JSON bodies and SSE answers of /v1/messages; token counts and lists of models beside them."""

    name = "anthropic"

    def __init__(self, *, max_depth: int = DEFAULT_DEPTH, conceal: bool = True) -> None:
        self._max_depth = max_depth
        self._conceal = conceal

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        reader = AnthropicReader(Cause.MALFORMED_BODY)
        return request_document(
            content_type,
            body,
            self._max_depth,
            reader,
            known=READ_IN_REQUESTS,
            asks=parameters.ANTHROPIC,
            limits=("max_tokens",),
        )

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:  # noqa: ARG002
        reader = AnthropicReader(Cause.ANSWER_MALFORMED)
        return answer_document(
            content_type,
            status,
            body,
            self._max_depth,
            reader,
            conceal=self._conceal,
            unsaid=unsaid.of_anthropic,
        )

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:  # noqa: ARG002
        return readable(content_type, status) or (status < 300 and is_event_stream(content_type))

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:  # noqa: ARG002
        if not is_event_stream(content_type):
            return None
        return anthropic_stream(max_depth=self._max_depth, conceal=self._conceal)

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        error = {"type": error_type(status), "message": message}
        body = {"type": "error", "error": error, "request_id": f"bartizan_{decision_id}"}
        return "application/json", json.dumps(body).encode()
