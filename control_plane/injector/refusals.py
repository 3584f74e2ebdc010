"""Pods that can't be guarded as asked: each reason says what, where and how to mend it. Pure.

A refused pod is not started: letting it run without its sidecar would look the same as guarding it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bartizan.errors import Problem
from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.guesses import KNATIVE_PROXY, Guess
from control_plane.injector.loopback import loopback_problem
from control_plane.injector.options import Options
from control_plane.injector.pods import Pod

POD_SECURITY: Final = "pod-security.kubernetes.io/enforce"
OPT_OUT: Final = f'or keep the pod out with the label {names.INJECT}: "false"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Where the pod is to run; labels and annotations are empty when nobody could ask the cluster (offline)."""

    name: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def injection(self) -> bool:
        return self.labels.get(names.INJECTION) == "enabled"

    @property
    def trusted(self) -> bool:
        """The control plane keeps the trust document here, without which a sidecar can't start."""
        return self.labels.get(names.INJECTION) in names.INJECTION_VALUES or self.enforced

    @property
    def enforced(self) -> bool:
        return self.labels.get(names.ENFORCE) == "true"


def refusals(
    pod: Pod, namespace: Namespace, config: Config, options: Options, guess: Guess
) -> tuple[Problem, ...]:
    """Every reason at once; () for a pod that can be guarded."""
    found = [
        *_configuration(config),
        *_names(pod),
        *_host(pod),
        *_ports(pod, config, options, guess),
        *_users(pod, config),
        *_kinds(pod, options),
        *_claims(pod, options),
    ]
    if options.bind_loopback and (problem := loopback_problem(pod, guess)) is not None:
        found.append(problem)
    if options.capture == "redirect":
        found += _redirect(namespace)
    if options.capture == "port" and config.egress != "open":
        found.append(
            _problem(
                f"metadata.annotations[{names.CAPTURE}]",
                "egress_needs_redirect",
                f"the injector's configuration asks for egress {config.egress}, which only capture redirect enforces",
                f"set {names.CAPTURE}: redirect",
            )
        )
    if options.capture == "port" and not all(options.excluded.values()):
        found.append(
            _problem(
                f"metadata.annotations[{names.EXCLUDE_INBOUND}]",
                "nothing_to_exclude",
                "with capture port nothing is captured by rules: only the sidecar's own look can leave a port out,"
                " and asks for a reason",
                f"write PORT=REASON, or set {names.CAPTURE}: redirect",
            )
        )
    return tuple(found)


def no_trust(namespace: Namespace) -> Problem:
    """A sidecar there would wait for its trust document for ever, and the pod for the sidecar."""
    return _problem(
        f"metadata.labels[{names.INJECT}]",
        "namespace_not_labelled",
        f"no trust document is kept in namespace {namespace.name}, so the sidecar would never start",
        f"label the namespace {names.INJECTION}: requested (only pods that ask) or enabled (all of its pods)",
    )


def _configuration(config: Config) -> Iterator[Problem]:
    if config.placeholder:
        yield _problem(
            "(injector.yaml) image",
            "image_is_placeholder",
            "the injector was installed with the digest of zeros that Bartizan ships: no node can pull that image",
            "set image to your own by digest and write the admission manifests anew (docs/kubernetes.md)",
        )


def _names(pod: Pod) -> Iterator[Problem]:
    wanted = pod.metadata.annotations.get(names.MODEL_CONTAINER)
    known = [each.name for each in pod.spec.containers]
    if wanted is not None and wanted not in known:
        yield _problem(
            f"metadata.annotations[{names.MODEL_CONTAINER}]",
            "no_such_container",
            f"the pod has no container {wanted!r}",
            f"name one of {', '.join(known)}",
        )
    for path, container in pod.all_containers():
        if container.name in {names.SIDECAR, names.CAPTURE_INIT}:
            yield _problem(
                f"{path}.name",
                "name_taken",
                f"{container.name} is the injected container's name",
                "rename the container",
            )
        for index, mount in enumerate(container.volume_mounts):
            if mount.name.startswith(names.VOLUME_PREFIX):
                yield _problem(
                    f"{path}.volumeMounts[{index}]",
                    "sidecar_volume_mounted",
                    f"{mount.name} is a volume of the sidecar: it holds its sockets, tokens or state",
                    "mount another volume",
                )
    for index, volume in enumerate(pod.spec.volumes):
        if volume.name.startswith(names.VOLUME_PREFIX):
            yield _problem(
                f"spec.volumes[{index}].name",
                "name_taken",
                f"names of volumes that begin with {names.VOLUME_PREFIX} are the sidecar's",
                "rename the volume",
            )


def _host(pod: Pod) -> Iterator[Problem]:
    if pod.spec.host_network:
        yield _problem(
            "spec.hostNetwork",
            "host_network",
            "the pod shares its node's network: the model is reachable at the node's address, around the sidecar",
            f"remove hostNetwork, {OPT_OUT}",
        )
    if pod.spec.host_pid or pod.spec.share_process_namespace:
        yield _problem(
            "spec.hostPID" if pod.spec.host_pid else "spec.shareProcessNamespace",
            "shared_processes",
            "processes outside of the sidecar's container could stop or read it",
            f"remove it, {OPT_OUT}",
        )
    system = pod.spec.os.name or pod.spec.node_selector.get("kubernetes.io/os", "")
    if system == "windows":
        yield _problem("spec.os.name", "windows", "the sidecar runs on Linux only", OPT_OUT)


def _ports(pod: Pod, config: Config, options: Options, guess: Guess) -> Iterator[Problem]:
    ours = {options.listener_port: "the sidecar's listener", names.HEALTH_PORT: "the sidecar's health port"}
    if config.egress_names:
        ours[names.EGRESS_PORT] = "the sidecar's way out"
    if options.listener_port in {names.HEALTH_PORT, names.EGRESS_PORT}:
        yield _problem(
            f"metadata.annotations[{names.LISTENER_PORT}]",
            "port_clash",
            f"{options.listener_port} is another port of the sidecar",
            "choose another listener port",
        )
    mend = f"move it, or set {names.LISTENER_PORT} and spec.listener.port of the policy to another port"
    for path, container in pod.all_containers():
        for index, port in enumerate(container.ports):
            here = f"{path}.ports[{index}]"
            if port.container_port in ours and port.protocol == "TCP":
                yield _problem(
                    f"{here}.containerPort",
                    "port_clash",
                    f"{port.container_port} is {ours[port.container_port]}",
                    mend,
                )
            if port.host_port:
                yield _problem(
                    f"{here}.hostPort",
                    "host_port",
                    f"port {port.host_port} of the node leads to the container, around the sidecar",
                    f"remove it and use a Service, {OPT_OUT}",
                )
    if guess.port in ours and not any(
        port.container_port == guess.port for _, each in pod.all_containers() for port in each.ports
    ):
        yield _problem(
            f"metadata.annotations[{names.MODEL_PORT}]",
            "port_clash",
            f"the model seems to listen on {guess.port}, which is {ours[guess.port]}",
            mend,
        )


def _users(pod: Pod, config: Config) -> Iterator[Problem]:
    """With the sidecar's own user a container could read its processes, and would be let past redirect rules."""
    for path, container in pod.all_containers():
        own = container.security_context.run_as_user
        inherited = pod.spec.security_context.run_as_user
        if config.user_id == (inherited if own is None else own):
            where = "spec" if own is None else path
            yield _problem(
                f"{where}.securityContext.runAsUser",
                "user_clash",
                f"{config.user_id} is the sidecar's user: its processes and redirect rules tell users apart",
                "run the container as another user",
            )


def _kinds(pod: Pod, options: Options) -> Iterator[Problem]:
    if not options.native and pod.spec.restart_policy != "Always":
        yield _problem(
            f"metadata.annotations[{names.NATIVE}]",
            "job_never_ends",
            "a plain sidecar container would keep a pod with an end (a Job's) running for ever",
            "use the native sidecar (Kubernetes 1.29 or newer)",
        )
    for index, container in enumerate(pod.spec.containers):
        if container.name == KNATIVE_PROXY:
            yield _problem(
                f"spec.containers[{index}]",
                "knative",
                "Knative's queue-proxy reaches the model over loopback, around the sidecar",
                f"use KServe's standard (raw) deployment mode, {OPT_OUT}",
            )


def _claims(pod: Pod, options: Options) -> Iterator[Problem]:
    """Older kubelets wait for ever for the second volume of one claim (kubernetes/kubernetes#82526, #132921)."""
    kind, _, name = options.model_files.partition("/")
    for index, volume in enumerate(pod.spec.volumes):
        if kind == "claim" and volume.persistent_volume_claim.claim_name == name:
            yield _problem(
                f"spec.volumes[{index}].persistentVolumeClaim",
                "claim_mounted_twice",
                f"the pod mounts claim {name} already, and {names.MODEL_FILES} would mount it a second time:"
                " on older releases of Kubernetes such a pod never starts",
                f"keep the sidecar's files in a claim, a ConfigMap or an image of their own ({names.MODEL_FILES})",
            )


def _redirect(namespace: Namespace) -> Iterator[Problem]:
    level = namespace.labels.get(POD_SECURITY, "")
    if level in {"restricted", "baseline"}:
        yield _problem(
            f"metadata.annotations[{names.CAPTURE}]",
            "redirect_forbidden",
            f"redirect needs an init container with NET_ADMIN, and the namespace {namespace.name} enforces the"
            f" {level} Pod Security Standard, which forbids it",
            f"use {names.CAPTURE}: port with a NetworkPolicy, or let the namespace be privileged",
        )


def _problem(path: str, code: str, message: str, hint: str) -> Problem:
    return Problem(path=path, code=code, message=message, hint=hint)
