"""What may be written at a place of a policy, from the schema: `bartizan policy fields`. The page of it is reference.py."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bartizan.errors import NotFound
from bartizan.policy.jsonschema import mesh_json_schema, policy_json_schema
from bartizan.policy.planned import planned_field
from bartizan.policy.reference import literal_of, type_of

_INDEX = re.compile(r"\[[0-9*]*\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """path: as problems name it, [] for any entry of a list. default: "" for none. below: whether it has fields itself."""

    path: str
    type: str
    required: bool
    default: str
    meaning: str
    below: bool


class Fields:
    """Of one kind of document."""

    def __init__(self, kind: str = "ModelPolicy") -> None:
        schema = mesh_json_schema() if kind == "MeshPolicy" else policy_json_schema()
        self._kind = kind
        self._definitions: dict[str, dict[str, Any]] = schema["$defs"]
        self._root = schema

    def at(self, path: str) -> tuple[Field, tuple[Field, ...]]:
        """A field and those below it. `spec.` may be left out, and so may indices. Raises NotFound."""
        steps = [step for step in _INDEX.sub("", path).split(".") if step]
        top = self._mapping(self._root)["properties"]
        if steps and steps[0] not in top:
            inside = ["spec", *steps]
            if steps[0] in self._mapping(top["spec"])["properties"] or planned_field(".".join(inside)):
                steps = inside
        field = self._walk(steps)
        return field, tuple(self._fields(field.path, self._value(field.path)))

    def under(self, field: Field) -> Iterator[Field]:
        """Everything below, in the order of the document."""
        for each in self._fields(field.path, self._value(field.path)):
            yield each
            yield from self.under(each)

    def _walk(self, steps: list[str]) -> Field:
        value = self._root
        field = Field(
            path="",
            type="mapping",
            required=True,
            default="",
            meaning=self._resolved(value).get("description", ""),
            below=True,
        )
        for step in steps:
            below = {each.path.rpartition(".")[2]: each for each in self._fields(field.path, value)}
            if step not in below:
                raise self._nothing(field.path, step, list(below))
            field, value = below[step], self._mapping(value)["properties"][step]
        return field

    def _value(self, path: str) -> dict[str, Any]:
        value = self._root
        for step in filter(None, _INDEX.sub("", path).split(".")):
            value = self._mapping(value)["properties"][step]
        return value

    def _fields(self, path: str, value: dict[str, Any]) -> Iterator[Field]:
        mapping = self._mapping(value)
        above = f"{path}[]" if _is_list(value) else path
        for name, inner in mapping.get("properties", {}).items():
            yield Field(
                path=f"{above}.{name}" if above else name,
                type=_plain(type_of(inner)),
                required=name in mapping.get("required", ()),
                default=_plain(literal_of(inner)),
                meaning=inner.get("description") or self._resolved(inner).get("description", ""),
                below=bool(self._mapping(inner).get("properties")),
            )

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        reference = value.get("$ref", "")
        return self._definitions[reference.rpartition("/")[2]] if reference else value

    def _mapping(self, value: dict[str, Any]) -> dict[str, Any]:
        """What holds the fields that may be written there: of a list its entries, of several forms the mapping."""
        for choice in value.get("anyOf", [value]):
            found = self._resolved(choice)
            if found.get("type") == "array":
                return self._mapping(found["items"])
            if "properties" in found:
                return found
        return {}

    def _nothing(self, path: str, step: str, known: list[str]) -> NotFound:
        wanted = f"{path}.{step}" if path else step
        if (planned := planned_field(wanted)) is not None:
            return NotFound(f"{wanted} is planned and refused until it is enforced: {planned}")
        close = difflib.get_close_matches(step, known, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"
        return NotFound(f"no field {step} in {path or self._kind}: {meant}")


def _is_list(value: dict[str, Any]) -> bool:
    return any(choice.get("type") == "array" for choice in value.get("anyOf", [value]))


def _plain(markdown: str) -> str:
    return markdown.replace("`", "")
