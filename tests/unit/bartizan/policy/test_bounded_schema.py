"""Schemas of policies: what is refused, and that judging by one is bounded whatever the answer."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.errors import InvalidInput, PolicyInvalid
from bartizan.policy.bounded_schema import MAX_DEPTH, MAX_NODES, BoundedSchema
from bartizan.policy.validate import validate_document

DEEP: Any = {}
for _ in range(MAX_DEPTH + 1):
    DEEP = {"not": DEEP}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"$ref": "https://evil.example/schema"}, ".$ref", "inside this schema"),
    ({"$ref": "#/$defs/none"}, ".$ref", "inside this schema"),
    ({"properties": {"a": {"$id": "https://evil.example"}}}, ".properties.a.$id", "not supported"),
    ({"properties": {"a": {"pattern": "(?=a)b"}}}, ".properties.a.pattern", "RE2"),
    ({"patternProperties": {"(a)\\1": {}}}, ".patternProperties", "RE2"),
    ({"type": "sting"}, ".type", "no JSON Schema"),
    ({"unevaluatedProperties": False}, ".unevaluatedProperties", "not supported"),
    ({"enum": [[]] * (MAX_NODES + 1)}, "", "at most"),
    (DEEP, "", "at most"),
]


@pytest.mark.parametrize(("schema", "path", "words"), REFUSED)
def test_a_schema_that_cannot_be_bounded_is_refused_with_its_path(
    schema: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        BoundedSchema(schema)
    assert any(problem.path == path and words in problem.message for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "object", "required": ["a"]}, {"a": 1}, {}),
        ({"properties": {"a": {"type": "integer"}}, "additionalProperties": False}, {"a": 1}, {"b": 1}),
        (
            {"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": False},
            {"x1": ""},
            {"y": 1},
        ),
        ({"pattern": "^a+$"}, "aaa", "b"),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 1}]),
        ({"$defs": {"n": {"type": "null"}}, "items": {"$ref": "#/$defs/n"}}, [None], [1]),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, 2, 3),
    ],
)
def test_values_are_judged_as_the_specification_says(schema: dict[str, Any], good: Any, bad: Any) -> None:
    bounded = BoundedSchema(schema)
    assert (bounded.admits(good), bounded.admits(bad)) == (True, False)


def test_an_answer_that_needs_too_much_work_does_not_fit() -> None:
    branch = {"properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}, "required": ["b"]}
    value: Any = {}
    for _ in range(25):
        value = {"a": value}
    assert not BoundedSchema(branch).admits(value)
    assert not BoundedSchema({"anyOf": [{"$ref": "#"}]}).admits(1)
    assert not BoundedSchema({"items": {"type": "integer", "minimum": 0}}).admits([1] * 200_000)


@pytest.mark.parametrize(
    ("check", "path", "code"),
    [
        (
            {"structured": {"schema": {"type": "sting"}}},
            "spec.output[0].structured.schema.type",
            "invalid_value",
        ),
        ({"structured": {}}, "spec.output[0].structured.schema", "missing_field"),
        ({"tools": {"schemas": {"a": {}}}}, "spec.output[0].tools.schemas.a", "invalid_value"),
        (
            {"tools": {"allow": ["a"], "schemas": {"a": {"$ref": "x"}}}},
            "spec.output[0].tools.schemas.a.$ref",
            "invalid_value",
        ),
        ({"tools": {"allow": ["a", "a"]}}, "spec.output[0].tools.allow[1]", "duplicate"),
        ({"tools": {"allow": ["a b"]}}, "spec.output[0].tools.allow[0]", "invalid_value"),
    ],
)
def test_problems_of_schemas_stand_at_their_place_in_the_policy(
    check: dict[str, Any], path: str, code: str
) -> None:
    spec = {
        "selector": {"matchLabels": {"app": "a"}},
        "listener": {"tls": "none"},
        "model": {"name": "a", "protocol": "openai"},
        "tenants": ["acme"],
        "authn": {"apiKeys": {"set": "a"}},
        "output": [check],
    }
    named = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "ModelPolicy", "metadata": {"name": "a"}}
    with pytest.raises(PolicyInvalid) as refused:
        validate_document({**named, "spec": spec})
    assert (path, code) in {(problem.path, problem.code) for problem in refused.value.problems}
