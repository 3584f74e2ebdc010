"""The CustomResourceDefinitions of ModelPolicy and MeshPolicy, generated from the policy language's types. Pure.

What the schema and its CEL rules say is exactly what the language says; whatever they can't say (expressions,
duplicates in long lists, addresses) the control plane refuses, with the path, in the object's status.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bartizan.policy.authored import CHECK_LISTS
from bartizan.policy.defaults import LISTENER_PORT, MODEL_PORT
from bartizan.policy.jsonschema import mesh_json_schema, policy_json_schema
from bartizan.policy.mesh import PARTS, SharedListener, SharedSpec
from bartizan.policy.protocols import PROTOCOLS
from control_plane.kubernetes.objects import GROUP, KIND, MESH_KIND, MESH_PLURAL, PLURAL, VERSION, Status
from control_plane.kubernetes.structural import structural

_RULES = "x-kubernetes-validations"
_LABEL = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"


def model_policy_crd() -> dict[str, Any]:
    """Of ModelPolicy. What a MeshPolicy's defaults may give is not required here: the control plane judges the whole."""
    language = policy_json_schema()
    definitions = language["$defs"]
    spec = structural(definitions["ModelPolicySpec"], definitions)
    _relax(spec)
    _add_rules(spec)
    columns: list[dict[str, Any]] = [
        {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"},
        {"name": "Model", "type": "string", "jsonPath": ".spec.model.name", "priority": 1},
    ]
    names = {"kind": KIND, "plural": PLURAL, "shortNames": ["mp"]}
    return _crd("Namespaced", names, columns, spec, definitions["ModelPolicy"]["description"])


def mesh_policy_crd() -> dict[str, Any]:
    """Of MeshPolicy: of the whole cluster, so that no namespace's admin can write one."""
    definitions = mesh_json_schema()["$defs"]
    spec = structural(definitions["MeshPolicySpec"], definitions)
    spec[_RULES] = [
        _rule(
            "has(self.defaults) || has(self.overrides)",
            "has neither defaults nor overrides: it would change nothing",
        )
    ]
    for part in PARTS:
        shared = spec["properties"][part]["properties"]
        _rule_authn(shared)
        _rule_checks(shared)
        _rule_requests(shared)
    columns = [{"name": "Priority", "type": "integer", "jsonPath": ".spec.priority"}]
    names = {"kind": MESH_KIND, "plural": MESH_PLURAL, "shortNames": ["meshp"]}
    return _crd("Cluster", names, columns, spec, definitions["MeshPolicy"]["description"])


def _crd(
    scope: str, names: dict[str, Any], columns: list[dict[str, Any]], spec: dict[str, Any], description: str
) -> dict[str, Any]:
    """apiextensions.k8s.io/v1, one version, status subresource."""
    kind = names["kind"]
    accepted = '.status.conditions[?(@.type=="Accepted")].reason'
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names['plural']}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "bartizan"},
        },
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": names["plural"],
                "singular": kind.lower(),
                "shortNames": names["shortNames"],
                "categories": ["bartizan"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": "Status", "type": "string", "jsonPath": ".status.summary"},
                        {"name": "Revision", "type": "integer", "jsonPath": ".status.revision"},
                        columns[0],
                        {"name": "Reason", "type": "string", "jsonPath": accepted, "priority": 1},
                        *columns[1:],
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "schema": {"openAPIV3Schema": _schema(spec, description)},
                }
            ],
        },
    }


def _schema(spec: dict[str, Any], description: str) -> dict[str, Any]:
    (status,), components = msgspec.json.schema_components([Status], ref_template="#/$defs/{name}")
    made = structural(status, components, strict=True)
    made["properties"]["conditions"] |= {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }
    made["properties"]["conditions"]["items"]["properties"]["lastTransitionTime"]["format"] = "date-time"
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": made,
        },
        _RULES: [_rule(f"self.metadata.name.matches('{_LABEL}')", "metadata.name: expected an RFC 1123 label of up to 63 characters")],
    }  # fmt: skip


def _relax(spec: dict[str, Any]) -> None:
    # A MeshPolicy says little of the model, never all that a ModelPolicy must.
    shared = set(SharedSpec.__struct_encode_fields__) - {"model"}
    spec["required"] = [name for name in spec["required"] if name not in shared]
    listener = spec["properties"]["listener"]
    given = SharedListener.__struct_encode_fields__
    listener["required"] = [name for name in listener.pop("required") if name not in given]
    if not listener["required"]:
        del listener["required"]


def _add_rules(spec: dict[str, Any]) -> None:
    """What a schema can't say and CEL says exactly as the control plane's own validation does."""
    fields = spec["properties"]
    # As CEL lists: Python writes a list of names in single quotes, too.
    fixed = sorted(name for name, facts in PROTOCOLS.items() if facts.routes == "fixed")
    required = sorted(name for name, facts in PROTOCOLS.items() if facts.routes == "required")
    textless = sorted(name for name, facts in PROTOCOLS.items() if not facts.texts)
    spec[_RULES] = [
        _rule(
            f"!(self.model.protocol in {fixed}) || !has(self.routes)",
            f"routes: protocols {', '.join(fixed)} know their own paths; leave routes out",
        ),
        _rule(
            f"!(self.model.protocol in {required}) || (has(self.routes) && size(self.routes) > 0)",
            f"routes: protocols {', '.join(required)} need at least one route; other paths answer 404",
        ),
        _rule(
            "!has(self.listener) || "
            "(has(self.listener.address) && !(self.listener.address in ['0.0.0.0', '::', '127.0.0.1', '::1'])) || "
            f"(has(self.listener.port) ? self.listener.port : {LISTENER_PORT}) != "
            f"(has(self.model.port) ? self.model.port : {MODEL_PORT})",
            "listener.port: the model's own port; listener and model can't share it",
        ),
        _rule(
            f"!(self.model.protocol in {textless}) || ((!has(self.input) || size(self.input) == 0) && "
            "(!has(self.output) || size(self.output) == 0))",
            f"content checks can't read bodies of protocol {', '.join(textless)}: use protocol json_fields",
        ),
    ]
    _rule_authn(fields)
    fields["authz"]["items"][_RULES] = [
        _rule("has(self.allow) != has(self.deny)", "expected exactly one of allow and deny")
    ]
    _rule_checks(fields)
    _rule_requests(fields)


def _rule_authn(fields: dict[str, Any]) -> None:
    fields["authn"][_RULES] = [
        _rule(
            "has(self.apiKeys) || (has(self.jwt) && size(self.jwt) > 0)",
            "names no method: nobody could call the endpoint; add apiKeys or jwt",
        )
    ]


def _rule_checks(fields: dict[str, Any]) -> None:
    for direction in CHECK_LISTS:
        # kubectl apply (not --server-side) drops nulls, and minProperties then refuses what is left of a bare check.
        fields[direction]["items"]["description"] = (
            "One check. Without settings it is written as NAME: {}, because kubectl apply drops empty values."
        )


def _rule_requests(fields: dict[str, Any]) -> None:
    fields["limits"]["properties"]["requests"] |= {
        "maxItems": 3,
        _RULES: [
            _rule(
                "self.all(one, self.exists_one(other, other.per == one.per))",
                "at most one limit for each of key, tenant and sidecar",
            )
        ],
    }


def _rule(rule: str, message: str) -> dict[str, str]:
    return {"rule": rule, "message": message}
