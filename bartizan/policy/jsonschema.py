"""JSON Schema (draft 2020-12) of authored documents: for editors, for the structural half of validation, for the docs.

Built from the msgspec types, with the authored form of checks and a description for every field.
"""

from __future__ import annotations

import functools
from typing import Any, get_args

import msgspec

from bartizan.policy.authored import CHECK_LISTS, TAG
from bartizan.policy.checks import AnnouncedType
from bartizan.policy.descriptions import FIELDS
from bartizan.policy.mesh import MeshPolicy
from bartizan.policy.reading import LONGEST_LIST
from bartizan.policy.schema import ModelPolicy

SCHEMAS = "https://bartizan.dev/schemas/v1alpha1"
CLAIM_TARGETS = ("tenant", "plan", "region", "subject")
_LISTS = ("routes", "authz", *CHECK_LISTS)


def policy_json_schema() -> dict[str, Any]:
    """Of ModelPolicy: a fresh copy of the schema; callers may change it."""
    schema: dict[str, Any] = msgspec.json.decode(_encoded(ModelPolicy, "ModelPolicySpec"))
    return schema


def mesh_json_schema() -> dict[str, Any]:
    """Of MeshPolicy, likewise."""
    schema: dict[str, Any] = msgspec.json.decode(_encoded(MeshPolicy, "SharedSpec"))
    return schema


@functools.cache
def _encoded(kind: type[msgspec.Struct], with_checks: str) -> bytes:
    generated = msgspec.json.schema(kind)
    definitions: dict[str, Any] = generated["$defs"]
    for name, definition in definitions.items():
        properties = definition["properties"]
        if TAG in properties:
            del properties[TAG]
            definition["required"] = [field for field in definition["required"] if field != TAG]
        for field, value in properties.items():
            _describe(value, FIELDS.get(f"{name}.{field}", ""))
    spec = definitions[with_checks]["properties"]
    for direction in CHECK_LISTS:
        spec[direction]["items"] = _one_of_the_checks(spec[direction]["items"], definitions)
    lists = [spec[name] for name in _LISTS if name in spec]
    for items in (*lists, definitions["Authn"]["properties"]["jwt"]):
        items.setdefault("maxItems", LONGEST_LIST)
    claim = {"type": "string", "minLength": 1, "maxLength": 128}
    definitions["Jwt"]["properties"]["claims"] |= {
        "properties": {target: dict(claim) for target in CLAIM_TARGETS},
        "required": ["tenant"],
        "additionalProperties": False,
    }
    context = definitions["Pii"]["properties"]["context"]
    words = context.pop("additionalProperties")
    context |= {
        "properties": {kind: dict(words) for kind in get_args(AnnouncedType)},
        "additionalProperties": False,
    }
    return msgspec.json.encode(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"{SCHEMAS}/{kind.__name__}.json",
            "title": kind.__name__,
            **generated,
        }
    )


def _one_of_the_checks(items: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """`{"pii": {…}}` in place of `{"check": "pii", …}`; a check without required fields may also stand bare."""
    properties = {}
    for name, reference in items["discriminator"]["mapping"].items():
        definition = definitions[reference.rpartition("/")[2]]
        choices = [{"$ref": reference}]
        if not definition["required"]:
            choices.append({"type": "null"})
        properties[name] = {"anyOf": choices, "description": definition["description"]}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _describe(value: dict[str, Any], description: str) -> None:
    if description:
        value["description"] = description
