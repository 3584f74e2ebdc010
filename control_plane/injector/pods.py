"""The parts of a pod that an injector looks at, as types; everything else of the object passes by untouched.

A pod is kept twice: the document as it came (what the patch is against) and this view of it. Fields are those of
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bartizan.errors import InvalidInput, Problem
from control_plane.injector import names

Document = dict[str, Any]
MAX_DEPTH: Final = 64


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown fields are ignored: Kubernetes has more of them with every release."""


class Port(View, frozen=True):
    container_port: int
    name: str = ""
    host_port: int = 0
    protocol: str = "TCP"


class HttpHeader(View, frozen=True):
    name: str
    value: str = ""


class HttpGet(View, frozen=True):
    port: int | str
    path: str = "/"
    scheme: str = "HTTP"
    host: str = ""
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocket(View, frozen=True):
    port: int | str
    host: str = ""


class Grpc(View, frozen=True):
    port: int
    service: str = ""


class Handler(View, frozen=True):
    """A probe, or a hook of a container's life."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None
    timeout_seconds: int = 1


class Lifecycle(View, frozen=True):
    post_start: Handler | None = None
    pre_stop: Handler | None = None


class Capabilities(View, frozen=True):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(View, frozen=True):
    run_as_user: int | None = None
    privileged: bool = False
    capabilities: Capabilities = Capabilities()


class EnvVar(View, frozen=True):
    name: str
    value: str = ""


class Mount(View, frozen=True):
    name: str
    mount_path: str = ""


class Resources(View, frozen=True):
    requests: dict[str, int | float | str] = {}
    limits: dict[str, int | float | str] = {}


class Container(View, frozen=True):
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    env: tuple[EnvVar, ...] = ()
    volume_mounts: tuple[Mount, ...] = ()
    security_context: SecurityContext = SecurityContext()
    startup_probe: Handler | None = None
    readiness_probe: Handler | None = None
    liveness_probe: Handler | None = None
    lifecycle: Lifecycle = Lifecycle()
    resources: Resources = Resources()
    restart_policy: str = ""


class Claim(View, frozen=True):
    claim_name: str = ""


class Volume(View, frozen=True):
    name: str
    persistent_volume_claim: Claim = Claim()


class System(View, frozen=True):
    name: str = ""


class Owner(View, frozen=True):
    kind: str = ""
    name: str = ""


class Meta(View, frozen=True):
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[Owner, ...] = ()


class Spec(View, frozen=True):
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    security_context: SecurityContext = SecurityContext()
    host_network: bool = False
    host_pid: bool = msgspec.field(default=False, name="hostPID")
    share_process_namespace: bool = False
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    node_selector: dict[str, str] = {}
    os: System = System()


class Pod(View, frozen=True):
    spec: Spec
    metadata: Meta = Meta()

    def all_containers(self) -> Iterator[tuple[str, Container]]:
        """Every container with its document path: containers, init and ephemeral ones."""
        for field, containers in (
            ("containers", self.spec.containers),
            ("initContainers", self.spec.init_containers),
            ("ephemeralContainers", self.spec.ephemeral_containers),
        ):
            for index, container in enumerate(containers):
                yield f"spec.{field}[{index}]", container

    def sidecar(self) -> Container | None:
        """What bears our name; whether it is ours is for rules.py to say."""
        named = (one for _, one in self.all_containers() if one.name == names.SIDECAR)
        return next(named, None)


def read_pod(document: object) -> Pod:
    """The view of a pod (or of a workload's pod template). Raises InvalidInput with the document path."""
    try:
        pod = msgspec.convert(without_nulls(document), type=Pod)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise _not_a_pod(path.removesuffix("`").removeprefix("$").lstrip("."), message) from None
    if not pod.spec.containers:
        raise _not_a_pod("spec.containers", "it has no container")
    return pod


def without_nulls(document: object, depth: int = 0) -> Any:
    """What is null is absent to the API server, so it does to us. Raises InvalidInput for what is nested absurdly deep."""
    if depth > MAX_DEPTH:
        raise _not_a_pod("", f"nested deeper than {MAX_DEPTH}")
    match document:
        case dict():
            return {key: without_nulls(each, depth + 1) for key, each in document.items() if each is not None}
        case list():
            return [without_nulls(each, depth + 1) for each in document]
    return document


def _not_a_pod(path: str, message: str) -> InvalidInput:
    return InvalidInput("not a pod", [Problem(path=path, code="invalid_pod", message=message)])
