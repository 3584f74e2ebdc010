"""Who can reach a guarded model's own port: Services that lead there, and what NetworkPolicies leave open. Pure.

Only for capture `port`: with `redirect` the kernel leads every connection to the sidecar, whatever port was asked for.
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from bartizan.errors import Problem
from control_plane.injector import names
from control_plane.injector.guesses import guess
from control_plane.injector.pods import Container, Document, Pod
from control_plane.injector.probes import port_number
from control_plane.injector.rule import Severity
from control_plane.injector.workloads import Item, selects, service_ports, target_port

_HOST_FLAGS = ("--host", "--hostname", "--http-address", "--rest_api_host")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def around_by_service(
    document: Document, pod: Pod, item: Item, found: Sequence[Item], default: str
) -> Iterator[tuple[Severity, Problem]]:
    """A Service whose target is another port than the listener's."""
    sidecar = pod.sidecar()
    if sidecar is None or not sidecar.ports or _captured(pod):
        return
    listener = sidecar.ports[0]
    for service in found:
        if service.kind != "Service" or not selects(service, document, item.namespace, default):
            continue
        for index, port in enumerate(service_ports(service)):
            target = target_port(port)
            number = port_number(pod, sidecar, target)
            if number == listener.container_port:
                continue
            model = number == guess(pod).port
            yield (
                "high" if model else "medium",
                Problem(
                    path="metadata.labels",
                    code="service_around_sidecar",
                    message=f"{service.title} leads to port {target} of the pod, around the sidecar's listener"
                    f" (spec.ports[{index}].targetPort)",
                    hint=f"set targetPort: {listener.container_port}, or capture redirect",
                ),
            )


def open_ports(
    document: Document, pod: Pod, item: Item, found: Sequence[Item], default: str
) -> Iterator[tuple[Severity, Problem]]:
    """The model's port at the pod's address: open unless the model listens on loopback or a policy closes it."""
    port = guess(pod).port
    if not port or _captured(pod) or _on_loopback(pod):
        return
    policies = [
        each
        for each in found
        if each.kind == "NetworkPolicy" and _isolates(each, document, item.namespace or default, default)
    ]
    openings = [each.title for each in policies if _admits(each, port, pod)]
    if policies and not openings:
        return
    because = f"{', '.join(openings)} admits it" if openings else "no NetworkPolicy isolates the pod"
    yield (
        "medium",
        Problem(
            path="spec.containers",
            code="model_port_open",
            message=f"port {port} of the model is reachable at the pod's address: {because}",
            hint="let the model listen on 127.0.0.1, admit only the listener's port, or use capture redirect",
        ),
    )


def _captured(pod: Pod) -> bool:
    try:
        status = json.loads(pod.metadata.annotations.get(names.STATUS, "{}"))
    except ValueError:
        return False
    asked = status.get("capture") if isinstance(status, dict) else None
    return asked == "redirect" and any(each.name == names.CAPTURE_INIT for each in pod.spec.init_containers)


def _on_loopback(pod: Pod) -> bool:
    wanted = guess(pod).container
    return any(_says_loopback(each) for each in pod.spec.containers if each.name == wanted)


def _says_loopback(container: Container) -> bool:
    words = [word for argument in (*container.command, *container.args) for word in argument.split()]
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in _HOST_FLAGS:
            following = words[index + 1] if index + 1 < len(words) else ""
            return (value if equals else following) in _LOOPBACK
    return any(each.name in {"HOST", "HOSTNAME"} and each.value in _LOOPBACK for each in container.env)


def _isolates(policy: Item, document: Document, namespace: str, default: str) -> bool:
    """It selects the pod and speaks of what comes in."""
    spec = policy.document.get("spec")
    if not isinstance(spec, dict) or (policy.namespace or default) != namespace:
        return False
    kinds = spec.get("policyTypes")
    if isinstance(kinds, list) and "Ingress" not in kinds:
        return False
    return _matches(spec.get("podSelector"), (document.get("metadata") or {}).get("labels") or {})


def _matches(selector: Any, labels: dict[str, str]) -> bool:
    """A label selector; an empty one selects all. What can't be read does not count as protection."""
    if not isinstance(selector, dict):
        return False
    wanted = selector.get("matchLabels") or {}
    if not isinstance(wanted, dict) or not wanted.items() <= labels.items():
        return False
    return all(_requirement(each, labels) for each in selector.get("matchExpressions") or ())


def _requirement(one: Any, labels: dict[str, str]) -> bool:
    if not isinstance(one, dict):
        return False
    key, values = one.get("key", ""), one.get("values") or []
    match one.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def _admits(policy: Item, port: int, pod: Pod) -> bool:
    """A rule without ports admits all of them; whom it admits does not matter: nobody should come in there."""
    rules = policy.document["spec"].get("ingress") or []
    return any(_rule_admits(rule, port, pod) for rule in rules)


def _rule_admits(rule: Any, port: int, pod: Pod) -> bool:
    ports = rule.get("ports") if isinstance(rule, dict) else None
    if not ports:
        return True
    for each in ports:
        if not isinstance(each, dict) or each.get("protocol", "TCP") != "TCP":
            continue
        given = each.get("port")
        number = port_number(pod, pod.spec.containers[0], given) if isinstance(given, int | str) else None
        last = each.get("endPort", number)
        if given is None or (number is not None and number <= port <= (last or number)):
            return True
    return False
