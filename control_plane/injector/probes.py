"""The kubelet's probes and hooks of other containers, led through the agent. Pure.

The kubelet asks at the pod's address, where only the sidecar answers: with capture `redirect` everything else ends in
Envoy, which would refuse it, and a model on loopback is not to be reached there at all. So the kubelet asks the
agent's health port, and the agent (sidecar/agent/app_probes.py) asks the container over loopback.
https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from control_plane.injector import names
from control_plane.injector.pods import Container, Document, Handler, Pod

_PROBES: Final = (
    ("startupProbe", "startup"),
    ("readinessProbe", "readiness"),
    ("livenessProbe", "liveness"),
)
_HOOKS: Final = (("postStart", "post-start"), ("preStop", "pre-stop"))


def rewrite_probes(pod: Pod, document: Document) -> dict[str, Any]:
    """Point every HTTP, TCP and gRPC handler of `document` to the agent; returns what the agent needs, by path.

    `document` is changed; exec handlers and those that name another host stay.
    """
    wanted: dict[str, Any] = {}
    for container, raw in _containers(pod, document):
        for owner, kind, handler, suffix in _handlers(container, raw):
            asked = _asked(pod, container, handler)
            if asked is None:
                continue
            path = f"{names.PROBE_PATH}/{container.name}/{suffix}"
            wanted[path] = {**asked, "timeoutSeconds": handler.timeout_seconds}
            for old in ("httpGet", "tcpSocket", "grpc"):
                owner[kind].pop(old, None)
            owner[kind]["httpGet"] = {"path": path, "port": names.HEALTH_PORT, "scheme": "HTTP"}
    return wanted


def _containers(pod: Pod, document: Document) -> Iterator[tuple[Container, Document]]:
    for field, containers in (
        ("initContainers", pod.spec.init_containers),
        ("containers", pod.spec.containers),
    ):
        for index, container in enumerate(containers):
            yield container, document["spec"][field][index]


def _handlers(container: Container, raw: Document) -> Iterator[tuple[Document, str, Handler, str]]:
    probes = (container.startup_probe, container.readiness_probe, container.liveness_probe)
    for (field, suffix), handler in zip(_PROBES, probes, strict=True):
        if handler is not None:
            yield raw, field, handler, suffix
    hooks = (container.lifecycle.post_start, container.lifecycle.pre_stop)
    for (field, suffix), handler in zip(_HOOKS, hooks, strict=True):
        # a tcpSocket hook is deprecated and does nothing
        if handler is not None and handler.http_get is not None:
            yield raw["lifecycle"], field, handler, suffix


def _asked(pod: Pod, container: Container, handler: Handler) -> dict[str, Any] | None:
    if (http := handler.http_get) is not None:
        port = port_number(pod, container, http.port)
        if http.host or port is None:
            return None
        headers = [[each.name, each.value] for each in http.http_headers]
        got = {"port": port, "path": http.path, "scheme": http.scheme}
        return {"httpGet": {**got, "headers": headers} if headers else got}
    if (tcp := handler.tcp_socket) is not None:
        port = port_number(pod, container, tcp.port)
        return None if tcp.host or port is None else {"tcpSocket": {"port": port}}
    if (grpc := handler.grpc) is not None:
        return {"grpc": {"port": grpc.port, "service": grpc.service}}
    return None


def port_number(pod: Pod, container: Container, port: int | str) -> int | None:
    """A named port as its number; None when no port has that name."""
    if isinstance(port, int):
        return port
    if port.isascii() and port.isdigit():
        return int(port)
    for each in (container, *pod.spec.containers, *pod.spec.init_containers):
        for one in each.ports:
            if one.name == port:
                return one.container_port
    return None
