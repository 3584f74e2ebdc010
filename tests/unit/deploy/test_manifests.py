"""deploy/k8s: every overlay builds, every object is one that Kubernetes knows, and what it promises is kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import Gauge
from prometheus_client.metrics import MetricWrapperBase

from bartizan.policy.validate import validate_document
from bartizan.telemetry import metrics
from control_plane.injector import names
from control_plane.injector.webhook_configuration import MUTATING, VALIDATING
from control_plane.kubernetes import election
from control_plane.settings import read
from tests.support.overlays import K8S, ROOT, built, kinds, loaded, pods, with_webhooks_in_control_plane

# built once, not once in each worker
pytestmark = pytest.mark.xdist_group("manifests")
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
EXAMPLES = sorted((K8S / "examples").glob("*.yaml"))
RELEASE = "1.34"
# Kinds of other projects, for which kubernetes-validate has no schema.
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "InferenceService", "ModelPolicy"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_builds_and_kubernetes_schemas_accept_every_object(overlay: str) -> None:
    for each in built(overlay):
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, RELEASE, strict=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid_and_its_policy_too(example: Path) -> None:
    documents = loaded(example.read_text())
    policies = 0
    for each in documents:
        if each["kind"] == "ModelPolicy":
            validate_document(each)
            policies += 1
        elif each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, RELEASE, strict=True)
    assert policies == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_confined(overlay: str) -> None:
    for name, spec in pods(overlay):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, container["name"]
            assert context["readOnlyRootFilesystem"] is True, container["name"]
            assert context["capabilities"] == {"drop": ["ALL"]}, container["name"]
            assert "memory" in container["resources"]["limits"], container["name"]


def test_production_names_images_by_digest_and_holds_no_secret() -> None:
    for _, spec in pods("prod"):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert "@sha256:" in container["image"]
    assert not kinds("prod", "Secret")


def control_plane(overlay: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Deployment, container's environment by name, disruption budget."""
    (made,) = [each for each in kinds(overlay, "Deployment") if each["metadata"]["name"] == "bartizan"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    (budget,) = [
        each for each in kinds(overlay, "PodDisruptionBudget") if each["metadata"]["name"] == "bartizan"
    ]
    return made["spec"], {each["name"]: each for each in container["env"]}, budget["spec"]


def test_control_planes_are_two_on_different_nodes_over_a_store_that_a_secret_names() -> None:
    made, environment, budget = control_plane("prod")
    assert made["replicas"] == 2
    assert made["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert budget["minAvailable"] == 1
    pod = made["template"]["spec"]
    (apart,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (spread,) = pod["topologySpreadConstraints"]
    for each in (apart["podAffinityTerm"], spread, budget):
        selector = each.get("labelSelector") or each["selector"]
        assert selector["matchLabels"].items() <= made["template"]["metadata"]["labels"].items()
    assert environment["BARTIZAN_CP_REPLICAS"]["value"] == "2"
    # Not there: the process itself says what is missing, instead of a pod that does not start.
    assert environment["BARTIZAN_CP_STORE"]["valueFrom"]["secretKeyRef"] == {
        "name": "bartizan-store",
        "key": "url",
        "optional": True,
    }
    # A volume of one node's disk, or one that replicas share, would give two of them one name.
    assert all("persistentVolumeClaim" not in volume for volume in pod["volumes"])
    assert not kinds("prod", "PersistentVolumeClaim")


def test_a_laptop_has_one_control_plane_over_sqlite_that_may_be_evicted() -> None:
    made, environment, budget = control_plane("dev")
    assert (made["replicas"], made["strategy"]) == (1, {"type": "Recreate"})
    assert environment["BARTIZAN_CP_REPLICAS"]["value"] == "1"
    assert environment["BARTIZAN_CP_STORE"]["value"].startswith("sqlite")
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_environment_of_the_control_plane_is_one_that_it_knows(overlay: str) -> None:
    _, environment, _ = control_plane(overlay)
    given = {name: each.get("value", "") for name, each in environment.items() if name != "TMPDIR"}
    given["BARTIZAN_CP_STORE"] = given["BARTIZAN_CP_STORE"] or "postgresql+asyncpg://db/bartizan"
    needed = {"TRUST_DOMAIN": "t.example", "VAULT_ADDR": "https://v:1", "VAULT_TOKEN_FILE": "/t"}
    read({**given, **{f"BARTIZAN_CP_{name}": value for name, value in needed.items()}})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_webhooks_are_two_at_least_and_one_always_stays(overlay: str) -> None:
    (scaler,) = kinds(overlay, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "bartizan-injector"
    assert scaler["spec"]["minReplicas"] >= 2
    (made,) = [
        each for each in kinds(overlay, "Deployment") if each["metadata"]["name"] == "bartizan-injector"
    ]
    assert "replicas" not in made["spec"], "the autoscaler's number would be taken back at every apply"
    assert made["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    (budget,) = [
        each
        for each in kinds(overlay, "PodDisruptionBudget")
        if each["metadata"]["name"] == "bartizan-injector"
    ]
    assert budget["spec"]["minAvailable"] == 1


def test_the_webhooks_answer_while_routes_to_them_are_withdrawn(tmp_path: Path) -> None:
    """failurePolicy is Fail: a connection that is refused is a pod that does not start."""
    serving = [(made, "injector") for made in kinds("prod", "Deployment")]
    serving += [
        (made, "control-plane")
        for made in with_webhooks_in_control_plane(tmp_path)
        if made["kind"] == "Deployment"
    ]
    found = 0
    for made, name in serving:
        pod = made["spec"]["template"]["spec"]
        for container in pod["containers"]:
            if container["name"] == name:
                seconds = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                assert 5 <= seconds <= pod["terminationGracePeriodSeconds"] - 10
                found += 1
    assert found == 2


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_webhooks_are_where_the_api_server_calls_them(overlay: str) -> None:
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in kinds(overlay, "Service")}
    configurations = [
        *kinds(overlay, "MutatingWebhookConfiguration"),
        *kinds(overlay, "ValidatingWebhookConfiguration"),
    ]
    assert len(configurations) == 2
    for each in configurations:
        for webhook in each["webhooks"]:
            service = webhook["clientConfig"]["service"]
            assert service["namespace"] == "bartizan-system"
            assert service.get("port", 443) in [port["port"] for port in services[service["name"]]]
            assert webhook["failurePolicy"] == ("Ignore" if "in-use" in webhook["name"] else "Fail")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_may_speak_with_anything_by_default(overlay: str) -> None:
    (deny,) = [each for each in kinds(overlay, "NetworkPolicy") if each["metadata"]["name"] == "default-deny"]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_role_has_a_wildcard_or_reads_secrets(overlay: str) -> None:
    for each in [*kinds(overlay, "ClusterRole"), *kinds(overlay, "Role")]:
        for rule in each["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_in_roles_are_those_that_the_code_asks_for(overlay: str) -> None:
    named = {
        name
        for each in [*kinds(overlay, "ClusterRole"), *kinds(overlay, "Role")]
        for rule in each["rules"]
        for name in rule.get("resourceNames", [])
    }
    assert named == {
        election.NAME,
        names.TRUST_CONFIG_MAP,
        MUTATING,
        VALIDATING,
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_and_policy_selects_a_workload(overlay: str) -> None:
    templates = [
        each["spec"]["template"]["metadata"]["labels"].items() for each in kinds(overlay, "Deployment")
    ]
    selectors = [
        *(each["spec"]["selector"] for each in kinds(overlay, "Service")),
        *(each["spec"]["selector"]["matchLabels"] for each in kinds(overlay, "PodDisruptionBudget")),
        *(
            each["spec"]["podSelector"]["matchLabels"]
            for each in kinds(overlay, "NetworkPolicy")
            if each["spec"]["podSelector"]
        ),
    ]
    for selector in selectors:
        assert any(selector.items() <= labels for labels in templates), selector


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_is_one_that_the_control_plane_knows(overlay: str) -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    (settings,) = [
        each
        for each in kinds(overlay, "ConfigMap")
        if each["metadata"]["name"].startswith("bartizan-settings")
    ]
    named = set(settings["data"])
    for _, spec in pods(overlay):
        for container in spec["containers"]:
            named |= {one["name"] for one in container.get("env", [])}
    assert {name for name in named if name.startswith(("BARTIZAN_", "OTEL_"))} <= documented


def test_webhooks_in_the_control_plane_are_reached_there_with_the_rights_that_they_need(
    tmp_path: Path,
) -> None:
    documents = with_webhooks_in_control_plane(tmp_path)
    found = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    assert ("Deployment", "bartizan-injector") not in found
    template = found["Deployment", "bartizan"]["spec"]["template"]
    (container,) = [one for one in template["spec"]["containers"] if one["name"] == "control-plane"]
    listens = {one["name"]: one.get("value") for one in container["env"]}["BARTIZAN_CP_WEBHOOK_LISTEN"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    service = found["Service", "bartizan-webhook"]["spec"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert [(one["port"], ports[one["targetPort"]]) for one in service["ports"]] == [(443, 9443)]
    assert listens == "0.0.0.0:9443"
    policy = found["NetworkPolicy", "injector"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    binding = found["ClusterRoleBinding", "bartizan-webhooks"]
    assert ("ClusterRole", binding["roleRef"]["name"]) in found
    assert binding["subjects"][0]["name"] == template["spec"]["serviceAccountName"]
    for each in documents:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, RELEASE, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_port_of_a_service_is_one_of_its_pods_ports(overlay: str) -> None:
    workloads = [each["spec"]["template"] for each in kinds(overlay, "Deployment")]
    for each in kinds(overlay, "Service"):
        (template,) = [
            one for one in workloads if each["spec"]["selector"].items() <= one["metadata"]["labels"].items()
        ]
        named = {port["name"] for one in template["spec"]["containers"] for port in one.get("ports", [])}
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= named


def families(kind: type[MetricWrapperBase]) -> set[str]:
    """Names of the metrics of this kind that processes export."""
    of_kind = (value for value in vars(metrics).values() if isinstance(value, kind))
    return {family.name for value in of_kind for family in value.describe()}


def test_gauges_in_alerts_are_asked_of_the_job_that_sets_them() -> None:
    """A process exports every metric of metrics.py: what it never sets is 0, and would be somebody else's alarm."""
    gauges = families(Gauge)
    rules = yaml.safe_load((K8S / "components/monitoring/rules.yaml").read_text())
    asked = 0
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            for name, job in re.findall(r"\b(bartizan_[a-z_]+)\b(\{job)?", rule["expr"]):
                if name in gauges:
                    assert job, f"{rule['alert']}: {name}"
                    asked += 1
    assert asked >= 5


def test_alerts_speak_of_metrics_that_exist() -> None:
    known = {f"{name}{end}" for name in families(MetricWrapperBase) for end in ("", "_total")}
    rules = (K8S / "components/monitoring/rules.yaml").read_text()
    used = set(re.findall(r"\b(bartizan_[a-z_]+)\b", rules))
    assert used
    assert used <= known
