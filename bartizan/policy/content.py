"""Problems of meaning in routes and content checks: a check must find what it looks at in some declared route."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bartizan.errors import InvalidInput, Problem
from bartizan.policy.authored import CHECK_LISTS
from bartizan.policy.bounded_schema import BoundedSchema
from bartizan.policy.defaults import ROUTE_METHOD
from bartizan.policy.detector_fields import canaries, canary_tokens, classifier, personal_data
from bartizan.policy.documents import join
from bartizan.policy.engines import NEVER, profiles
from bartizan.policy.protocols import FIELDS, facts_of
from bartizan.policy.reading import at, invalid, repeated, strings, structs

_TEXT_FIELD = {"input": "inputText", "output": "outputText"}
_SCORE_CHECKS = frozenset({"probabilities"})
_IN_A_PATH = re.compile(r"[A-Za-z0-9._~-]+")
_CHAT_CHECKS = frozenset({"tools", "structured"})
_PARAMETERS = (
    "maxTokens",
    "contextTokens",
    "n",
    "bestOf",
    "logprobs",
    "patternStates",
    "schemaSize",
    "engineOptions",
)
_DETECTORS = frozenset({"promptInjection", "secrets", "pii", "canary", "exfiltration", "markup"})
"""What reads text: a sanitizer after it may put together what it looked for in vain."""
_BODILESS = frozenset({"GET", "DELETE"})


def content_problems(document: Any) -> list[Problem]:
    """Every problem of spec.routes, spec.input and spec.output that one field alone does not show."""
    return [*_routes(document), *_engine(document), *_checks(document)]


def _engine(document: Any) -> Iterator[Problem]:
    """Routes that the engine keeps for its administration, and classes of routes that it has none of."""
    engine = at(document, "spec", "model", "engine")
    profile = profiles().get(engine) if isinstance(engine, str) else None
    for path, route in structs(document, "spec", "routes"):
        method, target = route.get("method", ROUTE_METHOD), route.get("path")
        if profile and isinstance(target, str) and isinstance(method, str):
            kind = profile.kind_of(method, target)
            if kind in NEVER:
                message = f"is for {'administration' if kind == 'admin' else 'debugging'} of {profile.title}"
                hint = "reach it on the model's own port, from its pod or host"
                yield Problem(path=f"{path}.path", code="engine_route", message=message, hint=hint)
    exposed = strings(document, "spec", "model", "expose")
    yield from repeated(exposed, "class")
    for path, wanted in exposed:
        if profile is None:
            yield Problem(path=path, code="not_applicable", message="needs an engine whose routes are known")
        elif not any(route.kind == wanted and route.method == "GET" for route in profile.routes):
            yield Problem(path=path, code="not_applicable", message=f"{profile.title} has no such routes")


def _routes(document: Any) -> Iterator[Problem]:
    protocol = at(document, "spec", "model", "protocol")
    routes = list(structs(document, "spec", "routes"))
    facts = facts_of(protocol)
    if facts and facts.routes == "fixed" and at(document, "spec", "routes") is not None:
        message = f"protocol {protocol} knows its own paths"
        yield Problem(path="spec.routes", code="not_applicable", message=message, hint="leave routes out")
    if facts and facts.routes == "required" and not at(document, "spec", "routes"):
        message = f"protocol {protocol} needs at least one route; other paths answer 404"
        yield Problem(path="spec.routes", code="missing_field", message=message, hint="add - path: /predict")
    name = at(document, "spec", "model", "name")
    named = facts is not None and facts.routes == "named" and not routes
    if named and isinstance(name, str) and not _IN_A_PATH.fullmatch(name):
        yield invalid("spec.model.name", f"can't stand in the paths of protocol {protocol}; give routes")
    seen: dict[tuple[str, str], str] = {}
    for path, route in routes:
        method, target = route.get("method", ROUTE_METHOD), route.get("path")
        if isinstance(target, str) and isinstance(method, str):
            if (target, method) in seen:
                message = f"the same path and method as {seen[target, method]}"
                yield Problem(path=path, code="duplicate", message=message)
            seen.setdefault((target, method), path)
            if "//" in target or {".", ".."} & set(target.split("/")):
                message = "no request has this path: empty, . and .. segments are normalised away"
                yield invalid(f"{path}.path", message)
        unknown = [field for field in FIELDS if facts and field not in facts.fields and route.get(field)]
        if facts and facts.routes != "fixed" and unknown:
            message = f"protocol {protocol} knows where its texts are"
            hint = "leave it out, or use protocol json_fields"
            if not facts.texts:
                message = f"{protocol} bodies are not read"
                hint = "use protocol json_fields, or leave it out"
            for field in unknown:
                yield Problem(path=f"{path}.{field}", code="not_applicable", message=message, hint=hint)
        elif method in _BODILESS and route.get("inputText"):
            message = f"{method} requests have no body to read"
            yield Problem(path=f"{path}.inputText", code="not_applicable", message=message)
        for field in FIELDS:
            yield from repeated(strings(route, field, under=path), "field")


def _checks(document: Any) -> Iterator[Problem]:
    protocol = at(document, "spec", "model", "protocol")
    facts = facts_of(protocol)
    routes = [route for _, route in structs(document, "spec", "routes")]
    tokens: list[tuple[str, str]] = []
    tenants = frozenset(name for _, name in strings(document, "spec", "tenants"))
    for direction in CHECK_LISTS:
        entries: list[tuple[str, dict[str, Any]]] = []
        for path, item in structs(document, "spec", direction):
            if len(item) != 1:
                continue
            ((name, config),) = item.items()
            place = f"{path}.{name}"
            if (name, config or {}) in [(n, c) for n, c in entries]:
                yield Problem(path=place, code="duplicate", message="the same check stands before")
            if name == "sanitize" and any(before in _DETECTORS for before, _ in entries):
                message = "the detectors before it would look at text that it then changes"
                yield Problem(path=place, code="conflict", message=message, hint="put sanitize first")
            entries.append((name, config or {}))
            if facts and not facts.texts:
                message = "content checks can't read opaque bodies"
                yield Problem(
                    path=place, code="not_applicable", message=message, hint="use protocol json_fields"
                )
            elif facts and name == "parameters" and not facts.parameters:
                message = f"requests of protocol {protocol} have no parameters that are known"
                yield Problem(path=place, code="not_applicable", message=message, hint="leave it out")
            elif facts and name == "parameters":
                for field in (
                    field
                    for field in _PARAMETERS
                    if field in (config or ()) and field not in facts.parameters
                ):
                    message = f"requests of protocol {protocol} have no such parameter"
                    yield Problem(
                        path=f"{place}.{field}", code="not_applicable", message=message, hint="leave it out"
                    )
            elif facts and not facts.chat and name in _CHAT_CHECKS:
                message = f"{name} reads answers of protocols openai, anthropic and ollama only"
                yield Problem(path=place, code="not_applicable", message=message, hint="leave it out")
            elif facts and name in _SCORE_CHECKS and not facts.scores:
                message = f"answers of protocol {protocol} hold no scores"
                yield Problem(path=place, code="not_applicable", message=message)
            elif facts and name == "image" and direction == "input":
                if not facts.images:
                    message = f"no pictures are known in requests of protocol {protocol}"
                    hint = "leave it out; protocol kserve_v1 with routes finds base64 in any JSON"
                    yield Problem(path=place, code="not_applicable", message=message, hint=hint)
            elif facts and facts.fields and name != "extractionWatch":
                field = "outputScores" if name in _SCORE_CHECKS else _TEXT_FIELD[direction]
                if field in facts.fields and routes and not any(route.get(field) for route in routes):
                    message = f"finds nothing to look at: no route declares {field}"
                    hint = (
                        f"add {field}, such as [$.{'probabilities' if field == 'outputScores' else 'text'}]"
                    )
                    yield Problem(path=place, code="missing_field", message=message, hint=hint)
            if isinstance(config, dict):
                yield from _schemas(name, config, place)
                yield from repeated(strings(config, "types", under=place), "type")
                yield from repeated(strings(config, "strip", under=place), "kind")
                yield from repeated(strings(config, "links", under=place), "host")
                yield from repeated(strings(config, "remote", under=place), "host")
                yield from repeated(strings(config, "labels", under=place), "label")
                if name == "pii":
                    yield from personal_data(config, place, of_answers=direction == "output")
                elif name == "promptInjection":
                    yield from classifier(config, place)
                elif name == "canary" and direction == "output":
                    yield from canaries(config, place, tenants)
                    tokens += canary_tokens(config, place)
    yield from repeated(tokens, "token")
    for path, token in tokens:
        if token.strip() != token:
            yield invalid(path, "begins or ends with white space, which answers seldom keep")


def _schemas(check: str, config: dict[str, Any], place: str) -> Iterator[Problem]:
    """JSON schemas that can't be used, and those of tools that may not be called."""
    found: dict[str, Any] = {}
    if check == "structured":
        found[f"{place}.schema"] = config.get("schema")
    elif check == "tools":
        yield from repeated(strings(config, "allow", under=place), "tool")
        schemas = config.get("schemas")
        for tool, schema in schemas.items() if isinstance(schemas, dict) else ():
            path = join(f"{place}.schemas", str(tool))
            found[path] = schema
            if tool not in (config.get("allow") or ()):
                yield invalid(path, "the schema of a tool that `allow` does not name")
    for path, schema in found.items():
        if isinstance(schema, dict):
            try:
                BoundedSchema(schema)
            except InvalidInput as refusal:
                for problem in refusal.problems:
                    yield Problem(path=path + problem.path, code=problem.code, message=problem.message)
