"""ValidatingAdmissionPolicies that refuse unknown and planned fields of policies, generated from the types. Pure.

The API server judges it itself, so a misspelt check is refused at `kubectl apply` also while Bartizan is away. In
such a policy an object is plain data (CEL maps), where unknown fields can be seen; in a CRD's own rules they can't.
https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bartizan.policy.jsonschema import mesh_json_schema, policy_json_schema
from bartizan.policy.planned import FIELDS
from control_plane.kubernetes.objects import GROUP, MESH_PLURAL, PLURAL, VERSION
from control_plane.kubernetes.structural import resolved

_NAMES = {"app.kubernetes.io/part-of": "bartizan"}


def field_policy() -> list[dict[str, Any]]:
    """Of ModelPolicies: the policy and its binding, for the whole cluster."""
    return _policy(PLURAL, [*_planned(), *_unknown("ModelPolicySpec", policy_json_schema()["$defs"])])


def mesh_field_policy() -> list[dict[str, Any]]:
    """Of MeshPolicies, likewise. Planned fields are unknown ones there; the control plane says more."""
    return _policy(MESH_PLURAL, list(_unknown("MeshPolicySpec", mesh_json_schema()["$defs"])))


def _policy(plural: str, validations: list[dict[str, str]]) -> list[dict[str, Any]]:
    name = f"{plural}-fields.{GROUP}"
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name, "labels": dict(_NAMES)},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": [GROUP],
                            "apiVersions": [VERSION],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": [plural],
                        }
                    ]
                },
                "validations": validations,
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name, "labels": dict(_NAMES)},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]


def _planned() -> Iterator[dict[str, str]]:
    for path, what in FIELDS.items():
        steps = path.split(".")
        if steps[0] == "spec":
            yield {
                "expression": _absent("object", steps),
                "message": f"{path}: {what}: planned, but not enforced by this release; leave it out",
            }


def _absent(base: str, steps: list[str], depth: int = 0) -> str:
    name, many = re.fullmatch(r"(\w+)(\[\])?", steps[0]).groups()  # type: ignore[union-attr]
    here = f"{base}.{name}"
    if len(steps) == 1:
        return f"!has({here})"
    if many:
        item = f"item{depth}"
        return f"!has({here}) || {here}.all({item}, {_absent(item, steps[1:], depth + 1)})"
    present = _absent(here, steps[1:], depth)
    return f"!has({here}) || {here} == null || {present}"


def _unknown(root: str, definitions: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    planned = {path.replace("[]", "") for path in FIELDS}
    for path, expression, known in _mappings("object.spec", definitions[root], definitions):
        # Planned fields of a ModelPolicy have a message of their own.
        allowed = sorted(
            {
                *known,
                *(
                    name
                    for parent, _, name in (p.rpartition(".") for p in planned)
                    if parent == path and root == "ModelPolicySpec"
                ),
            }
        )
        names = ", ".join(f"'{name}'" for name in allowed)
        yield {
            "expression": expression.replace("NAMES", f"[{names}]"),
            "message": f"{path}: a field here is not part of the language; known: {', '.join(known)}",
        }


def _mappings(
    place: str, node: Mapping[str, Any], definitions: Mapping[str, Any], path: str = "spec", depth: int = 0
) -> Iterator[tuple[str, str, list[str]]]:
    """Document path, expression (with NAMES in place of the allowed names) and known fields of every mapping."""
    node = resolved(node, definitions)
    for branch in node.get("anyOf", ()):
        if resolved(branch, definitions).get("properties"):
            for inner_path, expression, known in _mappings(place, branch, definitions, path, depth):
                yield inner_path, f"{place} == null || type({place}) == string || {expression}", known
    if "properties" in node:
        yield path, f"{place}.all(name, name in NAMES)", list(node["properties"])
        for name, value in node["properties"].items():
            below = f"{place}.{name}"
            for inner_path, expression, known in _mappings(
                below, value, definitions, f"{path}.{name}", depth
            ):
                yield inner_path, f"!has({below}) || {expression}", known
    elif node.get("type") == "array":
        item = f"item{depth}"
        for inner_path, expression, known in _mappings(item, node["items"], definitions, path, depth + 1):
            yield inner_path, f"{place}.all({item}, {expression})", known
