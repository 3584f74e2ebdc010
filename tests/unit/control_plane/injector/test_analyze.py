"""Each way around a sidecar is found in manifests, with its place and its weight; what is well is not accused."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from bartizan.errors import InvalidInput
from control_plane.injector import names
from control_plane.injector.analyze import analyze, summary
from control_plane.injector.findings import Finding
from control_plane.injector.offline import inject_documents
from control_plane.injector.workloads import items, read_documents
from tests.support.pod_cases import IMAGE, case_config

CONFIG = case_config("plain_one_port")
LABELS = {"app": "chat"}
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "prod", "labels": {names.INJECTION: "enabled"}},
}
CLOSED = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "listener-only", "namespace": "prod"},
    "spec": {
        "podSelector": {"matchLabels": LABELS},
        "ingress": [{"ports": [{"port": 8443}, {"port": 15020}]}],
    },
}


def deployment(
    template: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.11.0",
        "ports": [{"containerPort": 8000, "name": "http"}],
    }
    pod = {"containers": [{**container, **(template or {})}], **spec}
    metadata = {"labels": dict(LABELS), **({"annotations": annotations} if annotations else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "namespace": "prod"},
        "spec": {"selector": {"matchLabels": LABELS}, "template": {"metadata": metadata, "spec": pod}},
    }


def service(target: int | str | None) -> dict[str, Any]:
    port = {"port": 8000} if target is None else {"port": 443, "targetPort": target}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "chat", "namespace": "prod"},
        "spec": {"selector": LABELS, "ports": [port]},
    }


def policy(**spec: Any) -> dict[str, Any]:
    changed = copy.deepcopy(CLOSED)
    changed["spec"].update(spec)  # type: ignore[attr-defined]
    return changed


def found(*documents: dict[str, Any], config: Any = CONFIG, running: bool = False) -> list[Finding]:
    return analyze(list(items(list(documents), "test.yaml")), config, running=running)


def codes(*documents: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    return [(each.severity, each.code) for each in found(*documents, **options)]


WELL = {
    "a closed port and a service by name": (NAMESPACE, deployment(), service("http"), CLOSED),
    "a service to the listener": (NAMESPACE, deployment(), service(8443), CLOSED),
    "a model on loopback": (NAMESPACE, deployment({"args": ["--host", "127.0.0.1"]}), service("http")),
    "a model on loopback by one word": (NAMESPACE, deployment({"args": ["--host=127.0.0.1"]})),
    "a model on loopback by a variable": (
        NAMESPACE,
        deployment({"env": [{"name": "HOST", "value": "127.0.0.1"}]}),
    ),
    "a server told to listen on loopback": (
        NAMESPACE,
        deployment({"args": ["--model", "m"]}, annotations={names.BIND_LOOPBACK: "true"}),
        service("http"),
    ),
    "redirect": (NAMESPACE, deployment(annotations={names.CAPTURE: "redirect"}), service(8000)),
    "no model and no label": (deployment({"image": "nginx:1"}),),
    "nothing at all": (),
}


@pytest.mark.parametrize("case", WELL)
def test_what_is_guarded_is_not_accused(case: str) -> None:
    assert codes(*WELL[case]) == []


WRONG: dict[str, tuple[tuple[dict[str, Any], ...], list[tuple[str, str]]]] = {
    "a model nobody guards": ((deployment(),), [("high", "model_without_sidecar")]),
    "a model that opts out": (
        (
            NAMESPACE,
            {
                **deployment(),
                "kind": "Pod",
                "metadata": {"name": "x", "namespace": "prod", "labels": {names.INJECT: "false"}},
                "spec": deployment()["spec"]["template"]["spec"],
            },
        ),
        [("high", "model_without_sidecar")],
    ),
    "an open port": ((NAMESPACE, deployment()), [("medium", "model_port_open")]),
    "a policy for other pods": (
        (NAMESPACE, deployment(), policy(podSelector={"matchLabels": {"app": "other"}})),
        [("medium", "model_port_open")],
    ),
    "a policy that admits every port": (
        (NAMESPACE, deployment(), policy(ingress=[{"from": [{"podSelector": {}}]}])),
        [("medium", "model_port_open")],
    ),
    "a policy that admits a range": (
        (NAMESPACE, deployment(), policy(ingress=[{"ports": [{"port": 7000, "endPort": 9000}]}])),
        [("medium", "model_port_open")],
    ),
    "a policy that admits the moved name": (
        (NAMESPACE, deployment(), policy(ingress=[{"ports": [{"port": "model-http"}]}])),
        [("medium", "model_port_open")],
    ),
    "a policy for what goes out": (
        (NAMESPACE, deployment(), policy(policyTypes=["Egress"])),
        [("medium", "model_port_open")],
    ),
    "a service by number": (
        (NAMESPACE, deployment(), service(8000), CLOSED),
        [("high", "service_around_sidecar")],
    ),
    "a service without target": (
        (NAMESPACE, deployment(), service(None), CLOSED),
        [("high", "service_around_sidecar")],
    ),
    "a service to another port": (
        (NAMESPACE, deployment(), service(9100), CLOSED),
        [("medium", "service_around_sidecar")],
    ),
    "excluded ports": (
        (NAMESPACE, deployment(annotations={names.CAPTURE: "redirect", names.EXCLUDE_INBOUND: "8000"})),
        [("high", "excluded_ports"), ("high", "capabilities"), ("high", "sidecar_capture")],
    ),
    "the node's network": ((NAMESPACE, deployment(hostNetwork=True)), [("high", "host_network")]),
    "a sidecar that waits for its trust document for ever": (
        (
            {**NAMESPACE, "metadata": {"name": "prod"}},
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": "chat-0",
                    "namespace": "prod",
                    "labels": {**LABELS, names.INJECT: "true"},
                },
                "spec": deployment()["spec"]["template"]["spec"],
            },
            CLOSED,
        ),
        [("medium", "namespace_not_labelled")],
    ),
    "NET_ADMIN beside it": (
        (NAMESPACE, deployment({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}), CLOSED),
        [("high", "capabilities")],
    ),
    "the sidecar's user": (
        (NAMESPACE, deployment({"securityContext": {"runAsUser": 10443}})),
        [("high", "user_clash")],
    ),
    "a wrong annotation": (
        (NAMESPACE, deployment(annotations={"bartizan.dev/captur": "port"})),
        [("high", "unknown_annotation")],
    ),
    "not a pod": ((NAMESPACE, deployment(containers="none")), [("low", "invalid_pod")]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_way_around_is_found(case: str) -> None:
    documents, expected = WRONG[case]
    assert codes(*documents) == expected
    assert all(each.path and each.message and each.object for each in found(*documents))


def running_pod() -> dict[str, Any]:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "chat-0", "namespace": "prod", "labels": dict(LABELS)},
        "spec": deployment({"args": ["--host", "127.0.0.1"]})["spec"]["template"]["spec"],
    }
    documents = [pod]
    assert inject_documents(documents, "x", CONFIG, "prod").injected == 1
    return pod


def test_a_running_pod_is_judged_as_it_runs_not_as_it_would_be_injected() -> None:
    bare = running_pod()
    bare["spec"].pop("initContainers")
    assert codes(NAMESPACE, running_pod(), running=True) == []
    assert codes(NAMESPACE, bare, running=True) == [("high", "model_without_sidecar")]
    enforced = {**NAMESPACE, "metadata": {"name": "prod", "labels": {names.ENFORCE: "true"}}}
    assert ("high", "sidecar_missing") in codes(enforced, bare, running=True)


def test_an_ephemeral_container_of_a_running_pod_is_found() -> None:
    pod = running_pod()
    pod["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox"}]
    assert codes(NAMESPACE, pod, running=True) == [("high", "ephemeral_containers")]


def test_images_and_settings_are_compared_only_with_a_configuration() -> None:
    pod = running_pod()
    pod["spec"]["initContainers"][0]["image"] = IMAGE.replace("c" * 64, "d" * 64)
    assert codes(NAMESPACE, pod, running=True) == [("high", "sidecar_image")]
    assert codes(NAMESPACE, pod, running=True, config=None) == []


def test_exempt_namespaces_are_not_looked_at() -> None:
    pod = {**running_pod(), "metadata": {"name": "x", "namespace": "kube-system", "labels": {}}}
    pod["spec"].pop("initContainers")
    assert codes(pod, running=True) == []


def test_worst_comes_first_and_is_counted() -> None:
    several = found(NAMESPACE, deployment(), service(8000), service(9100))
    assert [each.severity for each in several] == ["high", "medium", "medium"]
    assert summary(several) == "1 high, 2 medium"
    assert summary([]) == "nothing found"
    assert msgspec.json.encode(several)


def test_broken_yaml_is_named_with_file_and_line() -> None:
    with pytest.raises(InvalidInput, match=r"bad\.yaml:2"):
        read_documents("a: 1\nb: [", "bad.yaml")
