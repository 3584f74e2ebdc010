"""One declaration per route, and the OpenAPI 3.1 document made from all of them.

The server routes by these declarations, decodes by their types and authorizes by their permission, so the document
can't say anything else than what is served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bartizan.api import ProblemDetails
from control_plane.api.auth import Permission
from control_plane.policies.actor import Actor

MAX_BODY = 512 * 1024


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route without query parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authenticated, decoded call. `body` is of the operation's request type, raw bytes for documents."""

    actor: Actor
    token: str = field(repr=False)
    path: Mapping[str, str]
    query: Any
    body: Any
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer with headers or with bytes that are no JSON of ours."""

    value: Any = None
    raw: bytes | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Coroutine[Any, Any, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A route. permission None: public. document: the body is a policy document, YAML or JSON, passed on as bytes;
    `request` may then be a tuple of the kinds that it may be of.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    permission: Permission | None
    answer: Any
    status: int = 200
    request: Any = None
    document: bool = False
    query: type[msgspec.Struct] = NoQuery
    tag: str = ""
    timeout: float = 30.0
    other_statuses: Sequence[int] = ()

    @property
    def id(self) -> str:
        """operationId: method and path as one word."""
        words = re.sub(r"[^a-zA-Z0-9]+", "_", self.path.removeprefix("/v1")).strip("_")
        return f"{self.method.lower()}_{words}"

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{(\w+)", self.path))

    @property
    def problem_statuses(self) -> tuple[int, ...]:
        """Which errors a caller must expect, by what the operation takes."""
        found = {429, 503, *self.other_statuses}
        if self.permission is not None:
            found |= {401, 403}
        if self.parameters:
            found.add(404)
        if self.request is not None or self.document:
            found |= {400, 413, 415, 422}
        if self.query is not NoQuery:
            found.add(422)
        return tuple(sorted(found))


def openapi(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    listed = list(operations)
    types: list[Any] = [ProblemDetails]
    for operation in listed:
        types += [
            kind for kind in (operation.answer, *_kinds(operation)) if kind is not None and kind is not bytes
        ]
        types.append(operation.query)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        made = _operation(operation, by_type, components)
        paths.setdefault(re.sub(r"\{(\w+):[^}]*\}", r"{\1}", operation.path), {})[
            operation.method.lower()
        ] = made
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bartizan control plane",
            "version": version,
            "description": "Policies, keys, sidecars, secrets and evidence. Errors are problem+json (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "bzt_…"}},
        },
    }


def _operation(
    operation: Operation, by_type: Mapping[Any, dict[str, Any]], components: Mapping[str, Any]
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": by_type[ProblemDetails]}}
    good: dict[str, Any] = {"description": "done"}
    if operation.answer is bytes:
        good["content"] = {"application/json": {"schema": {"type": "object"}}}
    elif operation.answer is not None:
        good["content"] = {"application/json": {"schema": by_type[operation.answer]}}
    made: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in operation.parameters
            ),
            *_query_parameters(by_type[operation.query], components),
        ],
        "responses": {
            str(operation.status): good,
            **{
                str(status): {"description": "refused", "content": problem}
                for status in operation.problem_statuses
            },
        },
        "security": [] if operation.permission is None else [{"token": []}],
    }
    if operation.permission is not None:
        made["x-bartizan-permission"] = operation.permission.value
    if operation.request is not None:
        schemas = [by_type[kind] for kind in _kinds(operation)]
        schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
        kinds = ("application/json", "application/yaml") if operation.document else ("application/json",)
        made["requestBody"] = {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}
    return made


def _kinds(operation: Operation) -> tuple[Any, ...]:
    return operation.request if isinstance(operation.request, tuple) else (operation.request,)


def _query_parameters(schema: Mapping[str, Any], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    required = set(found.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": part}
        for name, part in found.get("properties", {}).items()
    ]
