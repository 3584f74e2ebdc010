"""What the injector puts into pods: one YAML file, for the webhook, for `bartizan inject` and `analyze` alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from bartizan.errors import InvalidInput, Problem
from bartizan.policy.documents import Unreadable, load_document
from bartizan.policy.structure import schema_problems

CaptureMode = Literal["port", "redirect"]
Egress = Literal["open", "public", "none"]
DIGEST: Final = r"sha256:[a-f0-9]{64}"
BY_DIGEST: Final = rf"[a-z0-9][a-zA-Z0-9._:/-]{{0,254}}@{DIGEST}"
OBJECT_NAME: Final = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
MODEL_FILES: Final = rf"^(none|claim/{OBJECT_NAME}|configmap/{OBJECT_NAME}|image/{BY_DIGEST})$"
CLUSTERS_OWN: Final = "kube-system"
REASON: Final = r"^[A-Za-z0-9][A-Za-z0-9 ._:/()-]{0,99}$"
QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

Quantity = Annotated[str, Meta(pattern=QUANTITY, description='a quantity such as "250m" or 512Mi')]
Digest = Annotated[str, Meta(pattern=f"^{DIGEST}$", description="sha256: and 64 hex digits")]
ByDigest = Annotated[
    str, Meta(pattern=f"^{BY_DIGEST}$", description="an image by digest, NAME@sha256: and 64 hex digits")
]
HostPort = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.\[\]:-]{1,253}:[0-9]{1,5}$", description="HOST:PORT")]
Port = Annotated[int, Meta(ge=1024, le=65535)]
Seconds = Annotated[int, Meta(ge=0, le=3600)]
Name = Annotated[
    str,
    Meta(
        pattern=r"^(\*\.)?[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$",
        max_length=253,
        description="a host name such as api.example.com, or *.example.com",
    ),
]
Network = Annotated[
    str, Meta(pattern=r"^[0-9a-f.:]+(/[0-9]{1,3})?$", description="a network such as 10.20.0.0/16")
]
Group = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]{1,253}$", description="a group's name")]
Domain = Annotated[
    str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$", description="the name of a namespace")
]


class Part(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """Immutable, strict, camelCase outside."""


class ResourceList(Part, frozen=True):
    """Quantities of Kubernetes; "" leaves one out."""

    cpu: Quantity | Literal[""] = ""
    memory: Quantity | Literal[""] = ""


class Resources(Part, frozen=True):
    """No limit on CPU by default: throttling would show as latency of every request."""

    requests: ResourceList = ResourceList(cpu="100m", memory="192Mi")
    limits: ResourceList = ResourceList(memory="768Mi")


class OpenPort(Part, frozen=True):
    """A port that other containers may answer at around the guard, such as a metrics exporter's."""

    port: Annotated[int, Meta(ge=1, le=65535)]
    reason: Annotated[
        str, Meta(pattern=REASON, description="one line of up to 100 letters, digits and ._:/()-")
    ]


class Connections(Part, frozen=True):
    """Into running pods of enforced namespaces. audit: let through, told to who does it, kept in the audit log."""

    exec: Literal["deny", "audit", "allow"] = "audit"
    """exec and attach; into the sidecar's own containers they are refused in any case."""
    port_forward: Literal["deny", "audit", "allow"] = "deny"
    break_glass_groups: tuple[Group, ...] = ()
    """Groups of users whom none of this stops; what they do is kept in the audit log."""


class Config(Part, frozen=True):
    """`image` must name a digest: what is admitted is compared by it, never by a name that may move."""

    image: ByDigest
    control_plane: HostPort = "bartizan.bartizan-system.svc:18000"
    attest: HostPort = "bartizan.bartizan-system.svc:18001"
    accepted_digests: tuple[Digest, ...] = ()
    """Digests of other releases that are admitted, too, while a new one is rolled out."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    capture: CaptureMode = "port"
    egress: Egress = "open"
    """What containers of a pod with capture redirect may reach: everything, no internal addresses, or nothing."""
    egress_allow: tuple[Network, ...] = ()
    """Networks that stay open then."""
    egress_names: tuple[Name, ...] = ()
    """Host names that stay open by TLS (with egress none): "api.example.com", "*.example.com"."""
    open_ports: tuple[OpenPort, ...] = ()
    """In every pod. The sidecar finds all others that are reachable around it, and then nothing counts as enforced."""
    native_sidecar: bool = True
    """An init container with restartPolicy Always (Kubernetes 1.29); false: a plain container."""
    listener_port: Port = 8443
    health_address: Annotated[str, Meta(pattern=r"^[0-9a-f.:]+$", description="an IP address")] = "0.0.0.0"
    user_id: Annotated[int, Meta(ge=1, le=2_147_483_647)] = 10443
    model_files: Annotated[
        str,
        Meta(pattern=MODEL_FILES, description="none, claim/NAME, configmap/NAME or image/NAME@sha256:…"),
    ] = "none"
    """What is mounted, read-only, at the sidecar's model folder."""
    drain_seconds: Seconds = 60
    """How long running requests get when the pod ends: longer than the longest stream."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: Annotated[
        str, Meta(pattern=r"^(https?://[^\s]{1,255})?$", description="http://HOST:PORT or https://…")
    ] = ""
    rewrite_probes: bool = True
    resources: Resources = Resources()
    require_digests: bool = False
    """In enforced namespaces every container's image must be named by digest."""
    require_policy: bool = True
    """In enforced namespaces a pod must be selected by a policy with limits and content checks."""
    pods_without_policy: Literal["warn", "deny"] = "warn"
    """A change or deletion of a ModelPolicy that leaves running pods of an enforced namespace without any."""
    connections: Connections = Connections()
    exempt_namespaces: tuple[Domain, ...] = (
        CLUSTERS_OWN,
        "kube-public",
        "kube-node-lease",
        "bartizan-system",
    )
    """Never injected and never refused: the cluster and Bartizan itself must be able to start."""

    @property
    def placeholder(self) -> bool:
        """The image is that of the shipped file, which nobody can pull."""
        return set(self.digest.removeprefix("sha256:")) == {"0"}

    @property
    def digest(self) -> str:
        """ "sha256:…" of the image."""
        return self.image.rpartition("@")[2]

    @property
    def admitted_digests(self) -> tuple[str, ...]:
        """The image's digest first, then those accepted beside it."""
        return tuple(dict.fromkeys((self.digest, *self.accepted_digests)))


def read_config(text: str | bytes, source: str = "injector.yaml") -> Config:
    """Raises InvalidInput with everything that is wrong, each with the file and the field."""
    try:
        document, problems = load_document(text)
    except Unreadable as unreadable:
        raise _invalid(source, [unreadable.problem]) from None
    problems += schema_problems(document, msgspec.json.schema(Config))
    if isinstance(document, dict):
        problems += _contradictions(document)
    if problems:
        raise _invalid(source, problems)
    return msgspec.convert(document, Config)


def _contradictions(document: dict[str, Any]) -> Iterator[Problem]:
    """Asked of what was written, so that they are told together with fields of a wrong form."""
    if document.get("egressNames") and document.get("egress") != "none":
        yield _problem("egressNames", "needs egress: none, else other names stay open, too")
    exempt = document.get("exemptNamespaces")
    if isinstance(exempt, list) and CLUSTERS_OWN not in exempt:
        yield _not_exempt(CLUSTERS_OWN)


def check_exempt(config: Config, namespace: str, source: str = "injector.yaml") -> None:
    """Bartizan's own namespace, like the cluster's, must start before any webhook answers. Raises InvalidInput."""
    if namespace not in config.exempt_namespaces:
        raise _invalid(source, [_not_exempt(namespace)])


def load_config(file: Path) -> Config:
    """Raises InvalidInput, also when the file can't be read."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise _invalid(str(file), [_problem("", f"can't be read: {error.strerror}")]) from None
    return read_config(text, str(file))


def _problem(path: str, message: str) -> Problem:
    return Problem(path=path, code="invalid_setting", message=message)


def _not_exempt(namespace: str) -> Problem:
    why = "its pods start without waiting for a webhook that can't run before them"
    return _problem("exemptNamespaces", f"{namespace} must be in it: {why}")


def _invalid(source: str, problems: Iterable[Problem]) -> InvalidInput:
    told = (
        replace(
            each,
            path=f"{source}: {each.path}" if each.path else source,
            message="is no setting" if each.code == "unknown_field" else each.message,
        )
        for each in problems
    )
    return InvalidInput("the injector's configuration is wrong (docs/injection.md lists its fields)", told)
