"""The generated CRD and field policy: structural, complete, without drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bartizan.policy.jsonschema import policy_json_schema
from bartizan.policy.planned import FIELDS
from bartizan.policy.protocols import PROTOCOLS
from control_plane.kubernetes.crd import mesh_policy_crd, model_policy_crd
from control_plane.kubernetes.field_policy import field_policy, mesh_field_policy
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


CRDS_AND_FIELDS = [
    pytest.param(model_policy_crd, field_policy, id="ModelPolicy"),
    pytest.param(mesh_policy_crd, mesh_field_policy, id="MeshPolicy"),
]


def spec_schema(crd: Callable[[], dict[str, Any]] = model_policy_crd) -> dict[str, Any]:
    version = crd()["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


@pytest.mark.parametrize("name", sorted(manifests()))
def test_the_committed_manifests_are_those_that_the_types_give(name: str) -> None:
    assert (CRDS / name).read_text() == manifests()[name], "run `make reference`"


@pytest.mark.parametrize("name", sorted(manifests()))
def test_kubernetes_own_schemas_accept_them(name: str) -> None:
    for document in yaml.safe_load_all(manifests()[name]):
        kubernetes_validate.validate(document, "1.34", strict=True)


@pytest.mark.parametrize(("crd", "fields"), CRDS_AND_FIELDS)
def test_the_schema_is_structural(crd: Any, fields: Any) -> None:
    for node in nodes(spec_schema(crd)):
        assert not {"$ref", "anyOf", "oneOf", "allOf", "const", "default"} & node.keys()
        assert "type" in node or node["x-kubernetes-preserve-unknown-fields"]


@pytest.mark.parametrize(("crd", "fields"), CRDS_AND_FIELDS)
def test_no_field_is_dropped_without_a_word(crd: Any, fields: Any) -> None:
    for node in nodes(spec_schema(crd)):
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


@pytest.mark.parametrize(("crd", "fields"), CRDS_AND_FIELDS)
def test_every_mapping_has_its_list_of_known_fields(crd: Any, fields: Any) -> None:
    expressions = "\n".join(each["expression"] for each in fields()[0]["spec"]["validations"])
    for node in nodes(spec_schema(crd)):
        for name in node.get("properties", {}):
            assert f"'{name}'" in expressions


def test_what_a_default_may_give_is_not_required_and_the_rest_is() -> None:
    spec = spec_schema()
    assert spec["required"] == ["selector", "model"]
    assert "required" not in spec["properties"]["listener"]


def test_a_mesh_policy_stands_in_no_namespace() -> None:
    assert mesh_policy_crd()["spec"]["scope"] == "Cluster"
    assert model_policy_crd()["spec"]["scope"] == "Namespaced"
