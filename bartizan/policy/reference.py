"""Writes docs/policy-reference.md from the schema: `python -m bartizan.policy.reference > docs/policy-reference.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from bartizan.policy.authored import CHECK_LISTS
from bartizan.policy.expressions import BODY_ATTRIBUTES, VARIABLES
from bartizan.policy.jsonschema import mesh_json_schema, policy_json_schema
from bartizan.policy.planned import FIELDS, VALUES
from bartizan.policy.protocols import PROTOCOLS
from bartizan.policy.structure import PATTERNS

_INTRO = """\
# The policy language

<!-- Made by `python -m bartizan.policy.reference`; a test fails when this page is older than the schema. -->

A `ModelPolicy` (`apiVersion: bartizan.dev/v1alpha1`) says everything that holds for one model endpoint, a
[`MeshPolicy`](#meshpolicy) what many have in common. Every field
on this page is enforced by this release; anything else is refused, with its path. Examples that validate:
[`examples/policies`](../examples/policies). `bartizan policy fields spec.limits` says on the terminal what this page says of a
place, `bartizan policy schema` prints the JSON Schema for editors.

Documents are YAML or JSON, at most 256 KiB. Only `true`, `false`, `null` and decimal numbers are not text; duplicate
keys and tags are errors.
"""
_WITH_FACTS = ", ".join(name for name, facts in PROTOCOLS.items() if facts.facts)


def reference() -> str:
    """The page."""
    parts = (_fields(), _mesh_fields(), _checks(), _expressions(), _codes(), _planned())
    return "\n".join([_INTRO, *(line for part in parts for line in part)]) + "\n"


def _fields() -> Iterator[str]:
    yield "## Fields\n"
    schema = policy_json_schema()
    checks = {_name(choice) for items in _check_items(schema).values() for choice in items.values()}
    for path, name in _places(schema):
        if name in checks:
            continue
        definition = schema["$defs"][name]
        yield f"### `{path or 'ModelPolicy'}`\n\n{definition['description']}\n"
        yield from _table(definition)


def _mesh_fields() -> Iterator[str]:
    yield "## MeshPolicy\n"
    yield "Defaults and overrides for many endpoints; [how they merge](mesh-policies.md). `spec.overrides` has the fields"
    yield "of `spec.defaults`. Parts that are not shown here have the form that they have in a `ModelPolicy`.\n"
    schema, own = mesh_json_schema(), policy_json_schema()["$defs"].keys()
    for path, name in _places(schema):
        if name not in own and not path.startswith("spec.overrides"):
            definition = schema["$defs"][name]
            yield f"### `{path or 'MeshPolicy'}` (mesh)\n\n{definition['description']}\n"
            yield from _table(definition)


def _checks() -> Iterator[str]:
    schema = policy_json_schema()
    items = _check_items(schema)
    names: dict[str, list[str]] = {}
    for direction, choices in items.items():
        for check in choices:
            names.setdefault(check, []).append(f"`spec.{direction}`")
    yield "## Checks\n"
    yield "A check is a mapping with one key: `- pii: {action: redact}`, or `- pii:` for its defaults.\n"
    for check, where in names.items():
        choice = next(choices[check] for choices in items.values() if check in choices)
        for place, name in _places(schema, check, _name(choice)):
            definition = schema["$defs"][name]
            yield f"### `{place}` (in {' and '.join(where)})\n\n{definition['description']}\n"
            yield from _table(definition)


def _expressions() -> Iterator[str]:
    yield "## Expressions\n"
    yield "`spec.authz` rules are CEL. Names and types are checked when the policy is validated. An attribute that is"
    yield 'not known is `""`, `0`, `false` or empty. A rule whose evaluation fails denies.\n'
    yield "| attribute | type | known |\n|---|---|---|"
    for root, fields in VARIABLES.items():
        for field, kind in fields.items():
            known = (
                f"from the body (protocol {_WITH_FACTS})"
                if f"{root}.{field}" in BODY_ATTRIBUTES
                else "always"
            )
            yield f"| `{root}.{field}` | {kind.name().lower()} | {known} |"
    yield ""


def _codes() -> Iterator[str]:
    yield "## Codes of problems\n"
    yield "| code | meaning |\n|---|---|"
    for code, meaning in CODES.items():
        yield f"| `{code}` | {meaning} |"
    yield ""


CODES = {
    "conflict": "two fields contradict each other",
    "duplicate": "the same entry stands twice in a list",
    "duplicate_field": "the same key stands twice in a mapping",
    "engine_route": "the model's engine keeps this route for its administration or debugging",
    "invalid_expression": "a CEL expression does not compile",
    "invalid_value": "the value is not one of those allowed",
    "malformed": "the text is no YAML or JSON document",
    "missing_field": "something required is missing",
    "policy_conflict": "another policy of the same priority could touch the same endpoint",
    "not_applicable": "the field has no meaning with this protocol or method",
    "too_large": "the document is larger or deeper than policies may be",
    "unknown_field": "the field is not part of the language",
    "unsupported": "planned, but not enforced by this release",
    "wrong_type": "text where a number is expected, and the like",
}


def _planned() -> Iterator[str]:
    yield "## Planned, and refused until they are enforced\n"
    yield "| field | value | what |\n|---|---|---|"
    for path, what in FIELDS.items():
        yield f"| `{path}` | | {what} |"
    for path, values in VALUES.items():
        for value, what in values.items():
            yield f"| `{path}` | `{value}` | {what} |"


def _places(schema: dict[str, Any], path: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    """Path and definition of every mapping from this one on, in the order of the document."""
    pending = [(path, name or _target(schema["$ref"]))]
    while pending:
        path, name = pending.pop(0)
        yield path, name
        inner = []
        for field, value in schema["$defs"][name]["properties"].items():
            place = f"{path}.{field}" if path else field
            choices = value.get("anyOf", [value])
            inner += [(place, _target(choice["$ref"])) for choice in choices if "$ref" in choice]
            if "$ref" in value.get("items", {}):
                inner.append((f"{place}[]", _target(value["items"]["$ref"])))
        pending = inner + pending


def _table(definition: dict[str, Any]) -> Iterator[str]:
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    for field, value in definition["properties"].items():
        default = "required" if field in definition["required"] else literal_of(value)
        yield f"| `{field}` | {type_of(value)} | {default} | {value.get('description', '')} |"
    yield ""


def type_of(value: dict[str, Any]) -> str:
    """What may stand there, in a few words."""
    if "anyOf" in value:
        return " or ".join(type_of(choice) for choice in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{item}`" for item in value["enum"])
    if "$ref" in value:
        return "mapping"
    match value.get("type"):
        case "array":
            items = value["items"]
            if "maxProperties" in items:
                return "list of checks"
            return f"list, each {type_of(items)}" if "pattern" in items else f"list of {type_of(items)}"
        case "object":
            inner = [value.get("additionalProperties"), *value.get("properties", {}).values()]
            lists = [one for one in inner if isinstance(one, dict) and one.get("type") == "array"]
            numbers = any(one["items"].get("type") == "integer" for one in lists)
            if lists:
                return f"mapping to lists of {'numbers' if numbers else 'text'}"
            if not any(inner):
                return "JSON Schema"
            return "mapping to JSON Schemas" if {"type": "object"} in inner else "mapping of text"
        case "string":
            return PATTERNS.get(value["pattern"], "text") if "pattern" in value else "text"
        case kind:
            low, high = value.get("minimum"), value.get("maximum")
            return f"{kind} from {low} to {high}" if high is not None else str(kind)


def literal_of(value: dict[str, Any]) -> str:
    """The default as it is written; "" for none."""
    match value.get("default"):
        case None | "" | [] | {}:
            return ""
        case list() as items:
            return "`[" + ", ".join(map(str, items)) + "]`"
        case default:
            return f"`{default}`"


def _check_items(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec = schema["$defs"]["ModelPolicySpec"]["properties"]
    return {direction: spec[direction]["items"]["properties"] for direction in CHECK_LISTS}


def _name(choice: dict[str, Any]) -> str:
    return _target(choice["anyOf"][0]["$ref"])


def _target(reference: str) -> str:
    return reference.rpartition("/")[2]


if __name__ == "__main__":
    sys.stdout.write(reference())
