"""What all JSON formats do with a model's answer: whose fault a malformed one is, and answers outside of 2xx."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sidecar.formats.base import Document, FormatError
from sidecar.formats.documents import JsonDocument, strings
from sidecar.formats.json_text import decode
from sidecar.formats.media_type import demand_json, is_json, is_utf8, kind
from sidecar.formats.plain_documents import OpaqueDocument, PlainDocument
from sidecar.formats.walk import take_unreadable
from sidecar.model.decision import Cause

_WORDS = frozenset(
    {"error", "errors", "message", "detail", "msg", "loc", "type", "code", "param", "input", "title"}
)


def decode_model_json(content_type: str, body: bytes, max_depth: int) -> tuple[str, Any]:
    """A model's JSON answer. Whatever is wrong with it is the model's fault: ANSWER_MALFORMED."""
    try:
        demand_json(content_type)
        return decode(body, max_depth=max_depth)
    except FormatError as error:
        raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None


def readable(content_type: str, status: int) -> bool:
    """Whether an answer may be JSON. Redirects are not errors: their bodies may be plain text."""
    return 300 <= status < 400 or is_json(kind(content_type))


def error_document(
    content_type: str, status: int, body: bytes, max_depth: int, unreadable: Collection[str] = ()
) -> Document:
    """An answer outside of 2xx: every text of a JSON body; a redirect's plain body as one text.

    With `unreadable` names, members of them are concealed.

    An error that is not JSON is not read at all: what a framework writes then is a stack trace.
    """
    if not body:
        return OpaqueDocument(body)
    if is_json(kind(content_type)):
        text, value = decode_model_json(content_type, body, max_depth)
        hidden = [at for at, _ in take_unreadable(value, unreadable)] if unreadable else []
        return JsonDocument(body, text, texts=strings(value, (), "error", known=_WORDS), hidden=hidden)
    if status >= 400:
        raise FormatError(Cause.ANSWER_MALFORMED, "the error is not JSON")
    if not is_utf8(content_type):
        raise FormatError(Cause.ANSWER_MALFORMED, "charset is not UTF-8")
    try:
        return PlainDocument(body)
    except FormatError as error:
        raise FormatError(Cause.ANSWER_MALFORMED, error.detail) from None
