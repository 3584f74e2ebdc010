"""What an enforced namespace admits, as CEL over the pod: one text for the API server, the webhook and `analyze`.

admission_policy.py writes these expressions into a ValidatingAdmissionPolicy, so that a dead webhook admits nothing that a living
one would refuse; judge.py evaluates the very same expressions. `object` is the pod, `namespaceObject` its namespace,
`variables.NAME` one of variables().
https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from control_plane.identity.projected import AUDIENCE
from control_plane.injector import names
from control_plane.injector.bypass_rules import bypass_rules
from control_plane.injector.capture import capture_command
from control_plane.injector.config import Config
from control_plane.injector.container import (
    COMMAND,
    FACTS,
    MOUNTS,
    OPTIONAL,
    fixed_environment,
    free_environment,
    pre_stop,
)
from control_plane.injector.guesses import ENGINES, KSERVE_LABEL
from control_plane.injector.rule import OPT_OUT, Rule, cel_list, cel_map, cel_text

ACCOUNT_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


def variables(config: Config) -> Mapping[str, str]:
    """Name -> expression, in the order in which they build on one another."""
    images = "|".join(f"({_cel_pattern(engine.image.pattern)})" for engine in ENGINES)
    commands = "|".join(f"({engine.command.pattern})" for engine in ENGINES if engine.command is not None)
    granted = cel_text(names.OPT_OUT_IMAGES)
    commands += "|(^|/)(vllm|ollama)$"  # the word that follows is another argument
    return {
        "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
        "annotations": "has(object.metadata.annotations) ? object.metadata.annotations : {}",
        "containers": "object.spec.containers +"
        " (has(object.spec.initContainers) ? object.spec.initContainers : [])",
        "sidecars": f"variables.containers.filter(c, c.name == {cel_text(names.SIDECAR)})",
        "optedOut": f"{cel_text(names.INJECT)} in variables.labels &&"
        f" variables.labels[{cel_text(names.INJECT)}] == 'false' && size(variables.sidecars) == 0",
        "optOutImages": f"has(namespaceObject.metadata.annotations) && {granted} in namespaceObject.metadata.annotations"
        f" ? namespaceObject.metadata.annotations[{granted}].split(',').map(e, e.trim()).filter(e, e != '') : []",
        "everyContainer": "variables.containers +"
        " (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers : [])",
        "others": f"variables.containers.filter(c, c.name != {cel_text(names.SIDECAR)})",
        "volumes": "has(object.spec.volumes) ? object.spec.volumes : []",
        "looksLikeModel": f"{cel_text(KSERVE_LABEL)} in variables.labels ||"
        f" variables.containers.exists(c, c.image.matches({cel_text(f'(?i){images}')}) ||"
        " ((has(c.command) ? c.command : []) + (has(c.args) ? c.args : []))"
        f".exists(word, word.matches({cel_text(commands)})))",
        "capturers": f"variables.containers.filter(c, c.name == {cel_text(names.CAPTURE_INIT)} &&"
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
        Rule(
            code="opt_out_not_granted",
            path=f"metadata.labels[{names.INJECT}]",
            message="whether a pod may opt out of an enforced namespace is not for the pod to say",
            hint="remove the label, or ask who keeps the namespace to list every image of the pod in its annotation"
            f" {names.OPT_OUT_IMAGES}",
            # An entry without tag and digest stands for all of them; what follows it must not be a registry's port.
            expression="!variables.optedOut || variables.everyContainer.all(c, variables.optOutImages.exists(e,"
            " c.image == e || ((c.image.startsWith(e + ':') || c.image.startsWith(e + '@'))"
            " && !c.image.substring(size(e)).contains('/'))))",
        ),
        *_sidecar_rules(config),
        *bypass_rules(config),
        *(_DIGESTS if config.require_digests else ()),
    )


def _sidecar_rules(config: Config) -> tuple[Rule, ...]:
    """What bears the sidecar's name must be it: its image, command, settings, mounts and volumes."""
    fixed = fixed_environment(config)
    facts = dict(FACTS)
    allowed = [*fixed, *facts, *free_environment()]
    mounts = {path: name for name, path in MOUNTS.items()}
    needed = [path for path, name in mounts.items() if name not in OPTIONAL]
    hook = f"c.lifecycle.preStop.exec.command in [{', '.join(cel_list(pre_stop(n)) for n in range(6))}]"
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
            expression=f"variables.sidecars.all(c, has(c.command) && c.command == {cel_list(COMMAND)} && !has(c.args)"
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
            f" && c.env.all(e, e.name in {cel_list(allowed)})"
            f" && {cel_list(fixed)}.all(n, c.env.exists_one(e, e.name == n) &&"
            f" c.env.exists(e, e.name == n && has(e.value) && e.value == {cel_map(fixed)}[n]))"
            f" && {cel_list(facts)}.all(n, c.env.exists_one(e, e.name == n) && c.env.exists(e, e.name == n &&"
            " has(e.valueFrom) && has(e.valueFrom.fieldRef) &&"
            f" e.valueFrom.fieldRef.fieldPath == {cel_map(facts)}[n])))",
        ),
        Rule(
            code="sidecar_mounts",
            path=f"spec.initContainers[{names.SIDECAR}].volumeMounts",
            message="something else is mounted into the sidecar",
            hint="leave its mounts as they were injected",
            # The API server itself mounts the account's own token into every container.
            expression="variables.sidecars.all(c, has(c.volumeMounts) && !has(c.volumeDevices) &&"
            f" c.volumeMounts.all(m, ((m.mountPath in {cel_list(mounts)} && m.name == {cel_map(mounts)}[m.mountPath]) ||"
            f" (m.mountPath == {cel_text(ACCOUNT_MOUNT)} && m.name.startsWith('kube-api-access-')))"
            " && !has(m.subPath) && !has(m.subPathExpr))"
            f" && {cel_list(needed)}.all(n, c.volumeMounts.exists(m, m.mountPath == n)))",
        ),
        Rule(
            code="sidecar_volumes",
            path="spec.volumes",
            message="a volume of the sidecar holds something else than it should",
            hint="leave volumes whose names begin with bartizan- as they were injected",
            expression="variables.optedOut || ("
            + " && ".join(
                f"variables.volumes.exists_one(v, v.name == {cel_text(name)} && {kind})"
                for name, kind in (
                    (names.RUN_VOLUME, "has(v.emptyDir)"),
                    (names.STATE_VOLUME, "has(v.emptyDir)"),
                    (names.TOKEN_VOLUME, "has(v.projected)"),
                    (
                        names.TRUST_VOLUME,
                        (
                            f"has(v.configMap) && v.configMap.name == {cel_text(names.TRUST_CONFIG_MAP)} &&"
                            " has(v.configMap.items) && v.configMap.items.all(i, i.key == 'trust.json' &&"
                            " i.path == 'trust.json')"
                        ),
                    ),
                )
            )
            + f" && variables.volumes.all(v, v.name != {cel_text(names.MODELS_VOLUME)} ||"
            " has(v.persistentVolumeClaim) || has(v.configMap) || has(v.image)))",
        ),
        Rule(
            code="sidecar_capture",
            path=f"spec.initContainers[{names.SIDECAR}].env[BARTIZAN_CAPTURE]",
            message="the sidecar is not told how traffic is captured, or of rules that nobody writes",
            hint="leave BARTIZAN_CAPTURE and the capturing container as they were injected",
            expression="variables.sidecars.all(c, has(c.env) && c.env.exists_one(e, e.name == 'BARTIZAN_CAPTURE')"
            " && c.env.exists(e, e.name == 'BARTIZAN_CAPTURE' && has(e.value) && (e.value == 'port' ||"
            " (e.value == 'redirect' && size(variables.capturers) == 1))))",
        ),
        Rule(
            code="sidecar_token_elsewhere",
            path="spec.volumes[].projected.sources[].serviceAccountToken.audience",
            message="another volume holds a token with which somebody could pass for the sidecar",
            hint="leave that audience to the sidecar's own volume",
            expression=f"variables.volumes.all(v, v.name == {cel_text(names.TOKEN_VOLUME)} || !has(v.projected) ||"
            " !has(v.projected.sources) || v.projected.sources.all(s, !has(s.serviceAccountToken) ||"
            " !has(s.serviceAccountToken.audience) ||"
            f" s.serviceAccountToken.audience != {cel_text(AUDIENCE)}))",
        ),
        Rule(
            code="name_resolution",
            path="spec.hostAliases",
            message="the pod answers names by itself: the sidecar could be led to another control plane",
            hint=f"remove hostAliases, and dnsConfig's nameservers and searches, {OPT_OUT}",
            expression="variables.optedOut || ((!has(object.spec.hostAliases) || size(object.spec.hostAliases) == 0)"
            " && (!has(object.spec.dnsPolicy) || object.spec.dnsPolicy != 'None')"
            " && (!has(object.spec.dnsConfig) || (!has(object.spec.dnsConfig.nameservers)"
            " && !has(object.spec.dnsConfig.searches))))",
        ),
        Rule(
            code="sidecar_volume_shared",
            path="spec.containers[].volumeMounts",
            message="another container mounts a volume of the sidecar: its sockets, its token or its state",
            hint="mount another volume",
            expression="variables.others.all(c, !has(c.volumeMounts) ||"
            f" c.volumeMounts.all(m, !m.name.startsWith({cel_text(names.VOLUME_PREFIX)})))",
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


# It runs as root: whatever could make it run anything but its command is refused.
_NEVER_OF_CAPTURE: Final = (
    *("args", "env", "envFrom", "workingDir", "lifecycle", "restartPolicy", "volumeDevices"),
    *("livenessProbe", "readinessProbe", "startupProbe"),
)


def _has_digest(container: str, config: Config) -> str:
    digests = "|".join(each.removeprefix("sha256:") for each in config.admitted_digests)
    return f"{container}.image.matches('@sha256:({digests})$')"


def _is_capture(config: Config) -> str:
    """Our command, word by word, without exclusions; the listener's port alone is the pod's to choose."""
    words = capture_command(config, 0, ())
    port = words.index("0")
    fixed = " && ".join(
        f"c.command[{index}] == {cel_text(word)}" for index, word in enumerate(words) if index != port
    )
    nothing_else = " && ".join(f"!has(c.{field})" for field in _NEVER_OF_CAPTURE)
    mounts = (
        "(!has(c.volumeMounts) || c.volumeMounts.all(m,"
        f" m.mountPath == {cel_text(ACCOUNT_MOUNT)} && m.name.startsWith('kube-api-access-')))"
    )
    granted = (
        "has(c.securityContext) && has(c.securityContext.capabilities) &&"
        " has(c.securityContext.capabilities.add) && c.securityContext.capabilities.add == ['NET_ADMIN']"
    )
    return (
        f"has(c.command) && size(c.command) == {len(words)} && {fixed}"
        f" && {nothing_else} && {mounts} && {granted}"
    )


def _cel_pattern(pattern: str) -> str:
    return re.sub(r"\$(?=\)|$|\|)", "(:|@|$)", pattern)
