"""What all JSON formats do with a model's answer: whose fault a malformed one is, and answers outside of 2xx."""

from __future__ import annotations

from typing import Any

from sidecar.formats.base import Document, FormatError
from sidecar.formats.documents import JsonDocument, OpaqueDocument, PlainDocument, strings
from sidecar.formats.json_text import decode
from sidecar.formats.media_type import demand_json, is_json
from sidecar.model.decision import Cause


def decode_model_json(content_type: str, body: bytes, max_depth: int) -> tuple[str, Any]:
    """A model's JSON answer. Whatever is wrong with it is the model's fault: ANSWER_MALFORMED."""
    try:
        demand_json(content_type)
        return decode(body, max_depth=max_depth)
    except FormatError as error:
        raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None


def error_document(kind: str, body: bytes, max_depth: int) -> Document:
    """An answer outside of 2xx: every string of a JSON body, or the whole body as one text."""
    if not body:
        return OpaqueDocument(body)
    if is_json(kind):
        try:
            text, value = decode(body, max_depth=max_depth)
        except FormatError as error:
            raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None
        return JsonDocument(body, text, texts=strings(value, (), "error"))
    try:
        return PlainDocument(body)
    except FormatError as error:
        raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None
