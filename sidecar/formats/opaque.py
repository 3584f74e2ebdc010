"""The format of bodies that nobody looks into (images, protobuf, tensors): bytes pass untouched, errors are RFC 9457."""

from __future__ import annotations

from sidecar.formats.base import AnswerStream, Document
from sidecar.formats.plain_documents import OpaqueDocument
from sidecar.formats.problem import problem_body


class OpaqueFormat:
    """Any media type; no texts, no scores."""

    name = "opaque"

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        return OpaqueDocument(body)

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:  # noqa: ARG002
        return OpaqueDocument(body)

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:  # noqa: ARG002
        return True

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:  # noqa: ARG002
        return None

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        return problem_body(status, message, decision_id)
