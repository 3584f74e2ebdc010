"""A call's query and body, by the types that its operation declares."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from bartizan.errors import InvalidInput, Problem
from control_plane.api.errors import BadRequest
from control_plane.api.openapi import NoQuery, Operation

_AT = re.compile(r" - at `\$(.*)`$")


def query_of(operation: Operation, request: web.Request) -> Any:
    """Raises InvalidInput."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise InvalidInput("a query parameter is given twice", [_wrong(f"?{name}", "given twice")])
        given[name] = value
    if operation.query is NoQuery and not given:
        return NoQuery()
    known = {field.encode_name for field in msgspec.structs.fields(operation.query)}
    unknown = [
        _wrong(f"?{name}", "no such parameter", "unknown_field") for name in given if name not in known
    ]
    if unknown:
        raise InvalidInput("unknown query parameters", unknown)
    try:
        return msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput("a query parameter is wrong", [_located(error, "?")]) from error


async def body_of(operation: Operation, request: web.Request) -> Any:
    """None where the operation takes none. Raises InvalidInput, BadRequest."""
    if operation.request is None:
        return None
    allowed = {"application/json"} | (
        {"application/yaml", "text/yaml", "application/x-yaml"} if operation.document else set()
    )
    if request.content_type not in allowed:
        raise BadRequest(
            415, "unsupported_media_type", f"content-type must be one of {', '.join(sorted(allowed))}"
        )
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise BadRequest(415, "unsupported_encoding", "the body must not be compressed")
    raw = await request.read()
    if operation.document:
        return raw
    try:
        return msgspec.json.decode(raw, type=operation.request)
    except msgspec.ValidationError as error:
        raise InvalidInput("the request is wrong", [_located(error, "")]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(400, "malformed_json", "the body is not JSON") from error


def _located(error: msgspec.ValidationError, prefix: str) -> Problem:
    text = str(error)
    match = _AT.search(text)
    path = match[1].lstrip(".") if match else ""
    return _wrong(prefix + path, _AT.sub("", text))


def _wrong(path: str, message: str, code: str = "invalid_value") -> Problem:
    return Problem(path=path, code=code, message=message)
