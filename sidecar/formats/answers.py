"""What all JSON formats do with a model's answer: whose fault a malformed one is, and answers outside of 2xx."""

from __future__ import annotations

from typing import Any

from sidecar.formats.base import Document, FormatError
from sidecar.formats.documents import JsonDocument, OpaqueDocument, PlainDocument, strings
from sidecar.formats.json_text import decode
from sidecar.formats.media_type import demand_json, is_json, parse
from sidecar.model.decision import Cause


def decode_model_json(content_type: str, body: bytes, max_depth: int) -> tuple[str, Any]:
    """A model's JSON answer. Whatever is wrong with it is the model's fault: ANSWER_MALFORMED."""
    try:
        demand_json(content_type)
        return decode(body, max_depth=max_depth)
    except FormatError as error:
        raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None


def readable(content_type: str, status: int) -> bool:
    """Whether an answer may be JSON. Redirects are not errors: their bodies may be plain text."""
    return 300 <= status < 400 or is_json(parse(content_type)[0])


def error_document(kind: str, status: int, body: bytes, max_depth: int) -> Document:
    """An answer outside of 2xx: every string of a JSON body; a redirect's plain body as one text.

    An error that is not JSON is not read at all: what a framework writes then is a stack trace.
    """
    if not body:
        return OpaqueDocument(body)
    if is_json(kind):
        try:
            text, value = decode(body, max_depth=max_depth)
        except FormatError as error:
            raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None
        return JsonDocument(body, text, texts=strings(value, (), "error"))
    if status >= 400:
        raise FormatError(Cause.ANSWER_MALFORMED, "the error is not JSON")
    try:
        return PlainDocument(body)
    except FormatError as error:
        raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None
