"""Documents as people read them: fields in the order of the reference. Stored ones are canonical, so alphabetical."""

from __future__ import annotations

from typing import Any

from bartizan.policy.jsonschema import mesh_json_schema, policy_json_schema

_Schema = dict[str, Any]


def in_order(document: dict[str, Any]) -> dict[str, Any]:
    """A copy whose fields stand as the reference lists them; what it does not know (free names) stays as it stands."""
    schema = mesh_json_schema() if document.get("kind") == "MeshPolicy" else policy_json_schema()
    ordered: dict[str, Any] = _ordered(document, schema, schema["$defs"])
    return ordered


def _ordered(value: Any, schema: _Schema, definitions: dict[str, _Schema]) -> Any:
    known = _meant(schema, definitions, "properties" if isinstance(value, dict) else "items")
    match value:
        case dict():
            fields: dict[str, _Schema] = known.get("properties", {})
            names = [
                *(name for name in fields if name in value),
                *(name for name in value if name not in fields),
            ]
            return {name: _ordered(value[name], fields.get(name, {}), definitions) for name in names}
        case list():
            return [_ordered(item, known.get("items") or {}, definitions) for item in value]
        case _:
            return value


def _meant(schema: _Schema, definitions: dict[str, _Schema], part: str) -> _Schema:
    """The schema itself, what it refers to, or the alternative that says something of `part`."""
    if "$ref" in schema:
        return _meant(definitions[schema["$ref"].rpartition("/")[2]], definitions, part)
    choices = (_meant(choice, definitions, part) for choice in schema.get("anyOf", ()))
    return schema if part in schema else next((choice for choice in choices if part in choice), {})
