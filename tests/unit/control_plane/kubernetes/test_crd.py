"""The generated CRD and field policy: structural, complete, without drift."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bartizan.policy.jsonschema import policy_json_schema
from bartizan.policy.planned import FIELDS
from bartizan.policy.protocols import PROTOCOLS
from control_plane.kubernetes.crd import model_policy_crd
from control_plane.kubernetes.field_policy import field_policy
from control_plane.kubernetes.manifests import manifests

ROOT = Path(__file__).parents[4]
CRDS = ROOT / "deploy/k8s/base/crds"


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    yield schema
    for value in schema.get("properties", {}).values():
        yield from nodes(value)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key])


def spec_schema() -> dict[str, Any]:
    version = model_policy_crd()["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


@pytest.mark.parametrize("name", sorted(manifests()))
def test_the_committed_manifests_are_those_that_the_types_give(name: str) -> None:
    assert (CRDS / name).read_text() == manifests()[name], "run `make reference`"


@pytest.mark.parametrize("name", sorted(manifests()))
def test_kubernetes_own_schemas_accept_them(name: str) -> None:
    for document in yaml.safe_load_all(manifests()[name]):
        kubernetes_validate.validate(document, "1.34", strict=True)


def test_the_schema_is_structural() -> None:
    for node in nodes(spec_schema()):
        assert not {"$ref", "anyOf", "oneOf", "allOf", "const", "default"} & node.keys()
        assert "type" in node or node["x-kubernetes-preserve-unknown-fields"]


def test_no_field_is_dropped_without_a_word() -> None:
    for node in nodes(spec_schema()):
        if "properties" in node:
            assert node["x-kubernetes-preserve-unknown-fields"] is True


def test_every_field_of_the_language_is_in_the_schema_with_its_description() -> None:
    definitions = policy_json_schema()["$defs"]
    wanted = {
        text
        for one in definitions.values()
        for p in one["properties"].values()
        if (text := p.get("description"))
    }
    of_metadata = {p["description"] for p in definitions["Metadata"]["properties"].values()}
    of_root = {p["description"] for p in definitions["ModelPolicy"]["properties"].values()}
    found = {node.get("description") for node in nodes(spec_schema())}
    assert wanted - of_metadata - of_root <= found


def test_the_rules_know_every_protocol_by_its_facts() -> None:
    rules = "\n".join(each["rule"] for each in spec_schema()["x-kubernetes-validations"])
    for kind in ("fixed", "required"):
        names = sorted(name for name, facts in PROTOCOLS.items() if facts.routes == kind)
        assert f"self.model.protocol in {names}" in rules


def test_every_planned_field_is_refused_by_name() -> None:
    messages = [each["message"] for each in field_policy()[0]["spec"]["validations"]]
    for path in FIELDS:
        if path.startswith("spec."):
            assert sum(message.startswith(f"{path}: ") for message in messages) == 1


def test_every_mapping_has_its_list_of_known_fields() -> None:
    expressions = "\n".join(each["expression"] for each in field_policy()[0]["spec"]["validations"])
    for node in nodes(spec_schema()):
        for name in node.get("properties", {}):
            assert f"'{name}'" in expressions
