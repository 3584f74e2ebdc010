"""What an enforced namespace admits, as CEL over the pod: one text for the API server, the webhook and `analyze`.

admission_policy.py writes these expressions into a ValidatingAdmissionPolicy, so that a dead webhook admits nothing that a living
one would refuse; judge.py evaluates the very same expressions. `object` is the pod, `variables.NAME` one of VARIABLES.
https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from control_plane.injector import names
from control_plane.injector.capture import capture_command
from control_plane.injector.config import Config
from control_plane.injector.container import (
    COMMAND,
    FACTS,
    MOUNTS,
    fixed_environment,
    free_environment,
    pre_stop,
)
from control_plane.injector.guesses import ENGINES, KSERVE_LABEL

Severity = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`expression` is true for what may be admitted; `path` is where to look."""

    code: str
    path: str
    message: str
    hint: str
    expression: str
    severity: Severity = "high"


CAPABILITIES: Final = ("ALL", "BPF", "NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE")
"""With one of these a container can undo redirect rules, or read and stop processes of the sidecar."""
ACCOUNT_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
OPT_OUT: Final = f'or keep the pod out with the label {names.INJECT}: "false"'


def variables(config: Config) -> Mapping[str, str]:
    """Name -> expression, in the order in which they build on one another."""
    images = "|".join(f"({_cel_pattern(engine.image.pattern)})" for engine in ENGINES)
    return {
        "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
        "annotations": "has(object.metadata.annotations) ? object.metadata.annotations : {}",
        "containers": "object.spec.containers +"
        " (has(object.spec.initContainers) ? object.spec.initContainers : [])",
        "sidecars": f"variables.containers.filter(c, c.name == {_text(names.SIDECAR)})",
        "optedOut": f"{_text(names.INJECT)} in variables.labels &&"
        f" variables.labels[{_text(names.INJECT)}] == 'false' && size(variables.sidecars) == 0",
        "others": f"variables.containers.filter(c, c.name != {_text(names.SIDECAR)})",
        "volumes": "has(object.spec.volumes) ? object.spec.volumes : []",
        "looksLikeModel": f"{_text(KSERVE_LABEL)} in variables.labels ||"
        f" variables.containers.exists(c, c.image.matches({_text(f'(?i){images}')}))",
        "capturers": f"variables.containers.filter(c, c.name == {_text(names.CAPTURE_INIT)} &&"
        f" {_has_digest('c', config)} && {_is_capture(config)})",
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Every rule; those about a sidecar hold for pods that did not opt out."""
    return (
        Rule(
            code="sidecar_missing",
            path="spec.initContainers",
            message="the pod has no sidecar, or more than one",
            hint=f"label the namespace {names.INJECTION}: enabled, use `bartizan inject`, {OPT_OUT}",
            expression="variables.optedOut || size(variables.sidecars) == 1",
        ),
        Rule(
            code="model_opted_out",
            path=f"metadata.labels[{names.INJECT}]",
            message="a model server's pod may not opt out in an enforced namespace",
            hint="remove the label",
            expression="!variables.optedOut || !variables.looksLikeModel",
        ),
        *_sidecar_rules(config),
        *_bypass_rules(config),
        *(_DIGESTS if config.require_digests else ()),
    )


def _sidecar_rules(config: Config) -> tuple[Rule, ...]:
    """What bears the sidecar's name must be it: its image, command, settings, mounts and volumes."""
    fixed = fixed_environment(config)
    facts = dict(FACTS)
    allowed = [*fixed, *facts, *free_environment()]
    mounts = {path: name for name, path in MOUNTS.items()}
    needed = [path for path, name in mounts.items() if name != names.TLS_VOLUME]
    hook = f"c.lifecycle.preStop.exec.command in [{', '.join(_list(pre_stop(n)) for n in range(6))}]"
    return (
        Rule(
            code="sidecar_image",
            path=f"spec.initContainers[{names.SIDECAR}].image",
            message="the sidecar's image is not one of the admitted digests",
            hint="start the pod anew, so that it is injected with the current release",
            expression=f"variables.sidecars.all(c, {_has_digest('c', config)})",
        ),
        Rule(
            code="sidecar_command",
            path=f"spec.initContainers[{names.SIDECAR}]",
            message="the sidecar is told to run something else",
            hint="leave its command, arguments, probes and hooks as they were injected",
            expression=f"variables.sidecars.all(c, has(c.command) && c.command == {_list(COMMAND)} && !has(c.args)"
            " && !has(c.workingDir)"
            " && (!has(c.livenessProbe) || has(c.livenessProbe.httpGet))"
            " && (!has(c.readinessProbe) || has(c.readinessProbe.httpGet))"
            " && (!has(c.startupProbe) || has(c.startupProbe.httpGet))"
            f" && (!has(c.lifecycle) || (!has(c.lifecycle.postStart) && has(c.lifecycle.preStop.exec) && {hook})))",
        ),
        Rule(
            code="sidecar_environment",
            path=f"spec.initContainers[{names.SIDECAR}].env",
            message="the sidecar is told to believe somebody else, or to look elsewhere",
            hint="leave its variables as they were injected",
            expression="variables.sidecars.all(c, !has(c.envFrom) && has(c.env)"
            f" && c.env.all(e, e.name in {_list(allowed)})"
            f" && {_list(fixed)}.all(n, c.env.exists_one(e, e.name == n) &&"
            f" c.env.exists(e, e.name == n && has(e.value) && e.value == {_map(fixed)}[n]))"
            f" && {_list(facts)}.all(n, c.env.exists_one(e, e.name == n) && c.env.exists(e, e.name == n &&"
            " has(e.valueFrom) && has(e.valueFrom.fieldRef) &&"
            f" e.valueFrom.fieldRef.fieldPath == {_map(facts)}[n])))",
        ),
        Rule(
            code="sidecar_mounts",
            path=f"spec.initContainers[{names.SIDECAR}].volumeMounts",
            message="something else is mounted into the sidecar",
            hint="leave its mounts as they were injected",
            # The API server itself mounts the account's own token into every container.
            expression="variables.sidecars.all(c, has(c.volumeMounts) && !has(c.volumeDevices) &&"
            f" c.volumeMounts.all(m, ((m.mountPath in {_list(mounts)} && m.name == {_map(mounts)}[m.mountPath]) ||"
            f" (m.mountPath == {_text(ACCOUNT_MOUNT)} && m.name.startsWith('kube-api-access-')))"
            " && !has(m.subPath) && !has(m.subPathExpr))"
            f" && {_list(needed)}.all(n, c.volumeMounts.exists(m, m.mountPath == n)))",
        ),
        Rule(
            code="sidecar_volumes",
            path="spec.volumes",
            message="a volume of the sidecar holds something else than it should",
            hint="leave volumes whose names begin with bartizan- as they were injected",
            expression="variables.optedOut || ("
            + " && ".join(
                f"variables.volumes.exists_one(v, v.name == {_text(name)} && {kind})"
                for name, kind in (
                    (names.RUN_VOLUME, "has(v.emptyDir)"),
                    (names.STATE_VOLUME, "has(v.emptyDir)"),
                    (names.TOKEN_VOLUME, "has(v.projected)"),
                    (
                        names.TRUST_VOLUME,
                        f"has(v.configMap) && v.configMap.name == {_text(config.trust_config_map)}",
                    ),
                )
            )
            + ")",
        ),
        Rule(
            code="sidecar_volume_shared",
            path="spec.containers[].volumeMounts",
            message="another container mounts a volume of the sidecar: its sockets, its token or its state",
            hint="mount another volume",
            expression="variables.others.all(c, !has(c.volumeMounts) ||"
            f" c.volumeMounts.all(m, !m.name.startsWith({_text(names.VOLUME_PREFIX)})))",
        ),
    )


def _bypass_rules(config: Config) -> tuple[Rule, ...]:
    """Ways around a sidecar that is there."""
    user = config.user_id
    return (
        Rule(
            code="host_network",
            path="spec.hostNetwork",
            message="the pod shares its node's network: the model is reachable around the sidecar",
            hint=f"remove hostNetwork, {OPT_OUT}",
            expression="variables.optedOut || !has(object.spec.hostNetwork) || !object.spec.hostNetwork",
        ),
        Rule(
            code="shared_processes",
            path="spec.shareProcessNamespace",
            message="processes outside of the sidecar's container could stop or read it",
            hint=f"remove hostPID and shareProcessNamespace, {OPT_OUT}",
            expression="variables.optedOut || ((!has(object.spec.hostPID) || !object.spec.hostPID) &&"
            " (!has(object.spec.shareProcessNamespace) || !object.spec.shareProcessNamespace))",
        ),
        Rule(
            code="host_port",
            path="spec.containers[].ports[].hostPort",
            message="a port of the node leads to a container, around the sidecar",
            hint=f"remove it and use a Service, {OPT_OUT}",
            expression="variables.optedOut || variables.containers.all(c, !has(c.ports) ||"
            " c.ports.all(p, !has(p.hostPort) || p.hostPort == 0))",
        ),
        Rule(
            code="capabilities",
            path="spec.containers[].securityContext",
            message="a container may change the pod's network rules or other containers' processes",
            hint=f"remove privileged and the capabilities {', '.join(CAPABILITIES)}",
            expression="variables.optedOut || variables.containers.all(c, !has(c.securityContext) ||"
            " ((!has(c.securityContext.privileged) || !c.securityContext.privileged) &&"
            " (!has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add) ||"
            f" !c.securityContext.capabilities.add.exists(a, a in {_list(CAPABILITIES)}) ||"
            " variables.capturers.exists(k, k.name == c.name))))",
        ),
        Rule(
            code="user_clash",
            path="spec.containers[].securityContext.runAsUser",
            message=f"a container runs as the sidecar's user {user}: redirect rules would let it pass",
            hint="run it as another user",
            expression="variables.optedOut || (variables.others.all(c, !has(c.securityContext) ||"
            f" !has(c.securityContext.runAsUser) || c.securityContext.runAsUser != {user}) &&"
            " (!has(object.spec.securityContext) || !has(object.spec.securityContext.runAsUser) ||"
            f" object.spec.securityContext.runAsUser != {user}))",
        ),
        Rule(
            code="excluded_ports",
            path=f"metadata.annotations[{names.EXCLUDE_INBOUND}]",
            message="ports are excluded from capture: a way around the guard",
            hint="remove the annotation",
            expression=f"variables.optedOut || !({_text(names.EXCLUDE_INBOUND)} in variables.annotations)",
        ),
        Rule(
            code="ephemeral_containers",
            path="spec.ephemeralContainers",
            message="an ephemeral container shares the pod's network and reaches the model on loopback",
            hint="debug a copy of the pod (kubectl debug --copy-to)",
            expression="variables.optedOut || !has(object.spec.ephemeralContainers) ||"
            " size(object.spec.ephemeralContainers) == 0",
        ),
    )


_DIGESTS: Final = (
    Rule(
        code="image_not_by_digest",
        path="spec.containers[].image",
        message="an image is named by a tag, which may move to other content",
        hint="name it by digest: image@sha256:…",
        expression="variables.containers.all(c, c.image.matches('@sha256:[a-f0-9]{64}$'))",
        severity="medium",
    ),
)


def _has_digest(container: str, config: Config) -> str:
    digests = "|".join(each.removeprefix("sha256:") for each in config.admitted_digests)
    return f"{container}.image.matches('@sha256:({digests})$')"


def _is_capture(config: Config) -> str:
    """Our command, word by word, without exclusions; the listener's port alone is the pod's to choose."""
    words = capture_command(config, 0, ())
    port = words.index("0")
    fixed = " && ".join(
        f"c.command[{index}] == {_text(word)}" for index, word in enumerate(words) if index != port
    )
    return f"has(c.command) && size(c.command) == {len(words)} && !has(c.args) && {fixed}"


def _cel_pattern(pattern: str) -> str:
    return re.sub(r"\$(?=\)|$|\|)", "(:|@|$)", pattern)


def _text(value: str) -> str:
    """A CEL string. Nothing here holds quotes; a backslash needs another one."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _list(values: object) -> str:
    return "[" + ", ".join(_text(each) for each in values) + "]"  # type: ignore[attr-defined]


def _map(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{_text(key)}: {_text(value)}" for key, value in values.items()) + "}"
