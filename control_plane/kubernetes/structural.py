"""A JSON Schema as msgspec makes it, turned into what Kubernetes calls a structural schema. Pure.

A structural schema has no references, one type for each value, and no types below anyOf. Every mapping of the language
keeps unknown fields: the API server would otherwise drop them without a word, and a policy with a misspelt check would
be accepted without it. Who refuses them: the generated admission policy (field_policy.py) at once, the control plane in any case.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEEP_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
_COPIED = (
    "type",
    "enum",
    "description",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)


def structural(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], *, strict: bool = False
) -> dict[str, Any]:
    """The schema with references resolved and unions merged. strict: unknown fields may be dropped (our own status)."""
    node = resolved(schema, definitions)
    if "anyOf" in node:
        return _union(node, definitions, strict=strict)
    made = {key: node[key] for key in _COPIED if key in node}
    made.setdefault("type", "string" if "enum" in node else "object")
    match made["type"]:
        case "object":
            extra = node.get("additionalProperties")
            if isinstance(extra, dict) and "properties" not in node:
                made["additionalProperties"] = structural(extra, definitions, strict=strict)
            else:
                if properties := node.get("properties", {}):
                    made["properties"] = {
                        name: structural(value, definitions, strict=strict)
                        for name, value in properties.items()
                    }
                if node.get("required"):
                    made["required"] = list(node["required"])
                if not strict:
                    made[KEEP_UNKNOWN] = True
        case "array":
            made["items"] = structural(node["items"], definitions, strict=strict)
        case "integer":
            made.setdefault("format", "int64")
    return made


def resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The node with its reference replaced by what it refers to; the place's own description stays."""
    node = dict(schema)
    while "$ref" in node:
        name = node.pop("$ref").rpartition("/")[2]
        node = {**definitions[name], **node}
    return node


def _union(node: Mapping[str, Any], definitions: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    branches = [resolved(branch, definitions) for branch in node["anyOf"]]
    described = {"description": node["description"]} if "description" in node else {}
    kinds = [branch for branch in branches if branch.get("type") != "null"]
    if len(kinds) == 1:
        nullable = {"nullable": True} if len(branches) > 1 else {}
        return {**structural(kinds[0], definitions, strict=strict), **described, **nullable}
    # One of some words, or a mapping. No type can be given, but each keyword below binds only values of its own type:
    # the pattern texts, `required` and `properties` mappings. Other types are left to the control plane.
    words = [word for branch in kinds for word in branch.get("enum", ())]
    (mapping,) = (branch for branch in kinds if "properties" in branch)
    made = structural(mapping, definitions, strict=strict)
    del made["type"]
    return {**made, **described, "pattern": f"^({'|'.join(words)})$", KEEP_UNKNOWN: True}
