"""The manifests in deploy/k8s are those that the rules make, Kubernetes' schemas take them, and nothing locks itself out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from bartizan.cli.root import cli
from bartizan.errors import InvalidInput
from control_plane.injector.config import Config, load_config, read_config
from control_plane.injector.manifests import admission_manifests
from control_plane.injector.rules import rules
from tests.support.kubernetes_schemas import schema_errors
from tests.support.pod_cases import IMAGE

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "deploy/k8s/base/admission"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "admission.yaml").read_text()))


def test_the_manifests_are_those_of_the_rules() -> None:
    written = (FOLDER / "admission.yaml").read_text()
    assert written == admission_manifests(load_config(FOLDER / "injector.yaml")), "run: make reference"


def test_kubernetes_own_schema_takes_them() -> None:
    for document in documents():
        assert schema_errors(document) == [], document["kind"]
        assert schema_errors(document, "1.30.0") == [], document["kind"]


def test_the_policy_has_every_rule_and_fails_closed() -> None:
    policies = [each for each in documents() if each["kind"] == "ValidatingAdmissionPolicy"]
    assert {each["spec"]["failurePolicy"] for each in policies} == {"Fail"}
    policy = policies[0]
    config = load_config(FOLDER / "injector.yaml")
    assert [each["expression"] for each in policy["spec"]["validations"]] == [
        rule.expression for rule in rules(config)
    ]
    assert documents()[1]["spec"]["validationActions"] == ["Deny"]


def selectors(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["kind"] == "ValidatingAdmissionPolicyBinding":
        return [document["spec"]["matchResources"]["namespaceSelector"]]
    return [webhook["namespaceSelector"] for webhook in document.get("webhooks", [])]


def test_the_clusters_namespaces_and_ours_are_never_asked_about() -> None:
    seen = 0
    for document in documents():
        for selector in selectors(document):
            exempt = next(
                each for each in selector["matchExpressions"] if each["key"] == "kubernetes.io/metadata.name"
            )
            assert exempt["operator"] == "NotIn"
            assert {"kube-system", "bartizan-system"} <= set(exempt["values"])
            seen += 1
    assert seen == 10


def test_every_webhook_fails_closed_within_the_api_servers_patience() -> None:
    webhooks = [each for document in documents() for each in document.get("webhooks", [])]
    ignored = {each["name"] for each in webhooks if each["failurePolicy"] != "Fail"}
    assert ignored == {"policies-in-use.bartizan.dev"}, "which only warns: without a policy nothing is open"
    assert all(each["timeoutSeconds"] <= 10 and each["sideEffects"] == "None" for each in webhooks)
    assert {each["clientConfig"]["service"]["path"] for each in webhooks} == {"/mutate", "/validate"}


def test_the_command_prints_them_for_another_image(tmp_path: Path) -> None:
    file = tmp_path / "injector.yaml"
    file.write_text(f"image: {IMAGE}\n")
    command = ["injector", "manifests", "--config", str(file), "--namespace", "security"]
    refused = CliRunner().invoke(cli, command)
    assert refused.exit_code == 2
    assert "security must be in it" in refused.output, "else its own pods would wait for it"
    file.write_text(f"image: {IMAGE}\nexemptNamespaces: [kube-system, security]\n")
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert "c" * 64 in result.stdout
    made = list(yaml.safe_load_all(result.stdout))
    assert {
        each["clientConfig"]["service"]["namespace"] for one in made for each in one.get("webhooks", [])
    } == {"security"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("image: registry.example/bartizan:1.0", "image"),
        ("", "injector.yaml"),
        ("image: [", "injector.yaml"),
        (f"image: {IMAGE}\ncapture: iptables", "capture"),
        (f"image: {IMAGE}\nunknown: 1", "unknown"),
        (f"image: {IMAGE}\nlistenerPort: 80", "listenerPort"),
        (f"image: {IMAGE}\negress: public\negressNames: [api.example.com]", "egressNames"),
        (f"image: {IMAGE}\negress: none\negressNames: ['https://x']", "egressNames"),
        (f"image: {IMAGE}\naudience: guard", "audience"),
        (f"image: {IMAGE}\ntrustConfigMap: other", "trustConfigMap"),
        (f"image: {IMAGE}\nexemptNamespaces: [bartizan-system]", "exemptNamespaces"),
        (f"image: {IMAGE}\nresources: {{limits: {{cpu: much}}}}", "resources.limits.cpu"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_field(text: str, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_config(text)
    assert path in str(caught.value)


def test_everything_that_is_wrong_with_a_configuration_is_told_at_once_with_the_way_to_mend_it() -> None:
    text = """
image: registry.example/bartizan:1.0
imagePullPolicy: always
controlplane: control:18000
listenerPort: 80
nativeSidecar: "no"
egressNames: [api.example.com, "https://x"]
openPorts: [{port: 9100}]
resources: {limits: {cpu: much}}
exemptNamespaces: [bartizan-system]
"""
    with pytest.raises(InvalidInput) as caught:
        read_config(text, "mine.yaml")
    told = {
        each.path.removeprefix("mine.yaml: "): f"{each.message} ({each.hint})"
        for each in caught.value.problems
    }
    expected = {
        "controlplane": "did you mean controlPlane?",
        "egressNames": "needs egress: none",
        "egressNames[1]": "a host name such as api.example.com",
        "exemptNamespaces": "kube-system must be in it",
        "image": "an image by digest",
        "imagePullPolicy": "did you mean Always?",
        "listenerPort": "at least 1024",
        "nativeSidecar": "expected true or false, not text",
        "openPorts[0].reason": "is missing",
        "resources.limits.cpu": "a quantity such as",
    }
    assert set(told) == set(expected)
    assert [path for path, words in expected.items() if words not in told[path]] == []


def test_every_form_that_a_configuration_asks_for_is_said_in_words() -> None:
    schema = msgspec.json.schema(Config)
    forms = [
        form
        for part in schema["$defs"].values()
        for field in part["properties"].values()
        for form in (field, field.get("items", {}), *field.get("anyOf", ()))
        if "pattern" in form
    ]
    assert len(forms) > 10
    assert [form for form in forms if not form.get("description")] == []
