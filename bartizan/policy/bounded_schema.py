"""JSON schemas that policies hold for answers: local references only, patterns in linear time, bounded work.

Used by validation, which refuses a schema that this can't bound, and by the guard, which judges answers by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import re2
from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators

from bartizan.errors import InvalidInput, Problem

MAX_NODES = 2_000
"""Objects and lists of one schema."""
MAX_DEPTH = 24
_MAX_STEPS = 20_000
"""Keywords that are looked at for one answer: nested alternatives multiply."""
_ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$schema")

_UNBOUNDED = ("unevaluatedProperties", "unevaluatedItems")


class _TooMuchWork(Exception):
    """The answer needs more steps than any honest one."""


class BoundedSchema:
    """One schema, ready to judge values."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """Raises InvalidInput with every problem; paths are below the schema."""
        problems = list(_problems(schema))
        if problems:
            raise InvalidInput("the schema can't be used", problems)
        self._validator = _Validator(schema)

    def admits(self, value: Any) -> bool:
        """Whether the value fits. One that needs too much work does not."""
        steps = _Steps()
        try:
            return not any(True for _ in self._validator.evolve(format_checker=steps).iter_errors(value))
        except (_TooMuchWork, RecursionError):
            return False


class _Steps:
    """Counts the steps of one judgement; travels in the place of the format checker, which this does not use."""

    def __init__(self) -> None:
        self.left = _MAX_STEPS


def _counted(rule: Callable[..., Any]) -> Callable[..., Any]:
    def step(validator: Any, keyword: Any, instance: Any, schema: Any) -> Any:
        steps = validator.format_checker
        steps.left -= 1
        if steps.left < 0:
            raise _TooMuchWork
        return rule(validator, keyword, instance, schema)

    return step


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not re2.search(pattern, instance):
        yield ValidationError("pattern")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, below in patterns.items():
            for key, value in instance.items():
                if re2.search(pattern, key):
                    yield from validator.descend(value, below, path=key, schema_path=pattern)


def _additional(validator: Any, below: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, value in instance.items():
        if key not in known and not any(re2.search(pattern, key) for pattern in patterns):
            yield from validator.descend(value, below, path=key)


def _unique(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        seen = {json.dumps(item, sort_keys=True) for item in instance}
        if len(seen) != len(instance):
            yield ValidationError("uniqueItems")


_RULES: dict[str, Any] = {
    **Draft202012Validator.VALIDATORS,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "uniqueItems": _unique,
}
_RULES.pop("format", None)
_extend: Any = validators.create
_Validator = _extend(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={name: _counted(rule) for name, rule in _RULES.items()},
    type_checker=Draft202012Validator.TYPE_CHECKER,
)


def _problems(schema: dict[str, Any]) -> Iterator[Problem]:
    nodes = 0
    stack: list[tuple[str, Any, int]] = [("", schema, 0)]
    while stack:
        path, here, depth = stack.pop()
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            bounds = f"{MAX_NODES} objects and lists, {MAX_DEPTH} deep"
            yield Problem(path="", code="too_large", message=f"a schema has at most {bounds}")
            return
        members = here.items() if isinstance(here, dict) else enumerate(here)
        for key, value in members:
            at = f"{path}.{key}" if isinstance(here, dict) else f"{path}[{key}]"
            if key in _UNBOUNDED:
                yield Problem(path=at, code="unsupported", message=f"{key} is not supported")
            if isinstance(value, dict | list):
                stack.append((at, value, depth + 1))
            elif isinstance(here, dict) and isinstance(value, str):
                yield from _keyword(at, str(key), value, schema)
        for pattern in here.get("patternProperties", ()) if isinstance(here, dict) else ():
            yield from _keyword(f"{path}.patternProperties", "pattern", str(pattern), schema)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        at = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        yield Problem(path=at, code="invalid_value", message="is no JSON Schema (draft 2020-12)")


def _keyword(path: str, key: str, value: str, schema: dict[str, Any]) -> Iterator[Problem]:
    if key == "$ref" and not _resolves(schema, value):
        message = "expected a reference inside this schema, such as #/$defs/name"
        yield Problem(path=path, code="invalid_value", message=message)
    elif key in _ELSEWHERE and not (key == "$schema" and "draft/2020-12" in value):
        message = f"{key} is not supported: one schema, draft 2020-12, that refers to itself only"
        yield Problem(path=path, code="unsupported", message=message)
    elif key == "pattern":
        try:
            re2.compile(value)
        except re2.error:
            message = "not a regular expression of RE2: no look-around, no back-references"
            yield Problem(path=path, code="invalid_value", message=message)


def _resolves(schema: Any, reference: str) -> bool:
    if not reference.startswith("#") or "%" in reference:
        return False
    here = schema
    for step in reference.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and key in here:
            here = here[key]
        else:
            return False
    return reference == "#" or (reference.startswith("#/") and isinstance(here, dict | bool))
