"""Pods that go around their sidecar, each by one change of a pod that the injector made, and the rule about it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import msgspec

from control_plane.injector import names
from control_plane.injector.container import MODELS_MOUNT
from control_plane.injector.patch import Injected, inject
from tests.support.pod_cases import IMAGE, case_config, case_namespace, case_pod

CONFIG = msgspec.structs.replace(case_config("plain_one_port"), require_digests=False)
Pod = dict[str, Any]


def injected(case: str = "plain_named_port") -> Pod:
    result = inject(case_pod(case), case_namespace(case), case_config(case))
    assert isinstance(result, Injected)
    return result.pod


def sidecar(pod: Pod) -> dict[str, Any]:
    spec = pod["spec"]
    found: dict[str, Any] = next(
        each
        for each in [*(spec.get("initContainers") or []), *spec["containers"]]
        if each["name"] == names.SIDECAR
    )
    return found


def environment(pod: Pod, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in sidecar(pod)["env"] if each["name"] == name)
    return found


def model_of(pod: Pod) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


def _set(pod: Pod, **values: Any) -> None:
    pod["spec"].update(values)


def _capturing(pod: Pod, **changed: Any) -> None:
    """Our own capturing container, with something changed."""
    ours = next(
        each for each in injected("redirect")["spec"]["initContainers"] if each["name"] == names.CAPTURE_INIT
    )
    pod["spec"]["initContainers"].append({**copy.deepcopy(ours), **changed})


def _granted(*capabilities: str) -> dict[str, Any]:
    return {"capabilities": {"add": list(capabilities)}}


CHANGES: tuple[tuple[str, Any], ...] = (
    ("env", [{"name": "PATH", "value": "/evil"}]),
    ("envFrom", [{"configMapRef": {"name": "evil"}}]),
    ("volumeMounts", [{"name": "evil", "mountPath": "/usr/lib"}]),
    ("lifecycle", {"postStart": {"exec": {"command": ["sh"]}}}),
    ("restartPolicy", "Always"),
    ("workingDir", "/evil"),
    ("livenessProbe", {"exec": {"command": ["sh"]}}),
    ("securityContext", _granted("NET_ADMIN", "SYS_ADMIN")),
)
BROKEN: dict[str, tuple[str, Callable[[Pod], object]]] = {
    "no sidecar at all": ("sidecar_missing", lambda pod: pod["spec"].pop("initContainers")),
    "a second one of the same name": (
        "sidecar_missing",
        lambda pod: pod["spec"]["containers"].append(copy.deepcopy(sidecar(pod))),
    ),
    "another image of the same name": ("sidecar_image", lambda pod: sidecar(pod).update(image="evil:1")),
    "the digest in a tag": (
        "sidecar_image",
        lambda pod: sidecar(pod).update(image=f"evil:{IMAGE.rpartition(':')[2]}"),
    ),
    "another digest": (
        "sidecar_image",
        lambda pod: sidecar(pod).update(image=f"registry.example/bartizan/sidecar@sha256:{'d' * 64}"),
    ),
    "the right digest before another one": (
        "sidecar_image",
        lambda pod: sidecar(pod).update(image=f"{IMAGE}@sha256:{'d' * 64}"),
    ),
    "another command": ("sidecar_command", lambda pod: sidecar(pod).update(command=["sleep", "inf"])),
    "no command": ("sidecar_command", lambda pod: sidecar(pod).pop("command")),
    "arguments": ("sidecar_command", lambda pod: sidecar(pod).update(args=["--help"])),
    "a folder to import from": ("sidecar_command", lambda pod: sidecar(pod).update(workingDir="/evil")),
    "a hook": (
        "sidecar_command",
        lambda pod: sidecar(pod).update(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}),
    ),
    "a hook at the end": (
        "sidecar_command",
        lambda pod: sidecar(pod).update(lifecycle={"preStop": {"exec": {"command": ["sh"]}}}),
    ),
    "a probe that runs something": (
        "sidecar_command",
        lambda pod: sidecar(pod).update(livenessProbe={"exec": {"command": ["sh"]}}),
    ),
    "another control plane": (
        "sidecar_environment",
        lambda pod: environment(pod, "BARTIZAN_CONTROL_PLANE").update(value="evil:18000"),
    ),
    "a policy of its own": (
        "sidecar_environment",
        lambda pod: sidecar(pod)["env"].append({"name": "BARTIZAN_BUNDLE_FILE", "value": "/evil"}),
    ),
    "a library of its own": (
        "sidecar_environment",
        lambda pod: sidecar(pod)["env"].append({"name": "LD_PRELOAD", "value": "/evil.so"}),
    ),
    "variables from elsewhere": (
        "sidecar_environment",
        lambda pod: sidecar(pod).update(envFrom=[{"configMapRef": {"name": "evil"}}]),
    ),
    "a variable twice, the last one wins": (
        "sidecar_environment",
        lambda pod: sidecar(pod)["env"].append({"name": "BARTIZAN_ATTEST", "value": "evil:1"}),
    ),
    "a trust file from a secret": (
        "sidecar_environment",
        lambda pod: environment(pod, "BARTIZAN_TRUST_FILE").update(
            value=None, valueFrom={"secretKeyRef": {"name": "evil", "key": "x"}}
        ),
    ),
    "an address that is not the pod's": (
        "sidecar_environment",
        lambda pod: environment(pod, "BARTIZAN_POD_IPS").update(value="192.0.2.1", valueFrom=None),
    ),
    "another pod's name": (
        "sidecar_environment",
        lambda pod: environment(pod, "BARTIZAN_POD_NAME")["valueFrom"].update(
            fieldRef={"fieldPath": "metadata.labels['x']"}
        ),
    ),
    "a mount over its code": (
        "sidecar_mounts",
        lambda pod: sidecar(pod)["volumeMounts"].append({"name": "evil", "mountPath": "/usr/lib"}),
    ),
    "another volume at a place of its": (
        "sidecar_mounts",
        lambda pod: sidecar(pod)["volumeMounts"][3].update(name="evil"),
    ),
    "no mounts": ("sidecar_mounts", lambda pod: sidecar(pod).pop("volumeMounts")),
    "another trust document": (
        "sidecar_volumes",
        lambda pod: next(v for v in pod["spec"]["volumes"] if v["name"] == names.TRUST_VOLUME)[
            "configMap"
        ].update(name="evil"),
    ),
    "a run folder of the node": (
        "sidecar_volumes",
        lambda pod: pod["spec"]["volumes"][0].update(emptyDir=None, hostPath={"path": "/"}),
    ),
    "model files that anything may be": (
        "sidecar_volumes",
        lambda pod: pod["spec"]["volumes"].append({"name": names.MODELS_VOLUME, "emptyDir": {}}),
    ),
    "another volume at the model files' place": (
        "sidecar_mounts",
        lambda pod: sidecar(pod)["volumeMounts"].append({"name": "evil", "mountPath": MODELS_MOUNT}),
    ),
    "its sockets in the model's container": (
        "sidecar_volume_shared",
        lambda pod: model_of(pod).update(volumeMounts=[{"name": names.RUN_VOLUME, "mountPath": "/x"}]),
    ),
    "the node's network": ("host_network", lambda pod: _set(pod, hostNetwork=True)),
    "the node's processes": ("shared_processes", lambda pod: _set(pod, hostPID=True)),
    "the pod's processes": ("shared_processes", lambda pod: _set(pod, shareProcessNamespace=True)),
    "a port of the node": ("host_port", lambda pod: model_of(pod)["ports"][0].update(hostPort=8000)),
    "NET_ADMIN": (
        "capabilities",
        lambda pod: model_of(pod).update(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}),
    ),
    "privilege": ("capabilities", lambda pod: model_of(pod).update(securityContext={"privileged": True})),
    "NET_ADMIN under our name": (
        "capabilities",
        lambda pod: pod["spec"]["initContainers"].append(
            {
                "name": names.CAPTURE_INIT,
                "image": "evil:1",
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
            }
        ),
    ),
    "NET_ADMIN in our image with another command": (
        "capabilities",
        lambda pod: pod["spec"]["initContainers"].append(
            {
                "name": names.CAPTURE_INIT,
                "image": IMAGE,
                "command": ["nft", "flush", "ruleset"],
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
            }
        ),
    ),
    "NET_ADMIN in small letters": (
        "capabilities",
        lambda pod: model_of(pod).update(securityContext=_granted("net_admin")),
    ),
    "NET_ADMIN as the kernel says it": (
        "capabilities",
        lambda pod: model_of(pod).update(securityContext=_granted("CAP_NET_ADMIN")),
    ),
    "all of them in small letters": (
        "capabilities",
        lambda pod: model_of(pod).update(securityContext=_granted("all")),
    ),
    **{
        f"our capturing container with {field}": (
            "capabilities",
            functools.partial(_capturing, **{field: value}),
        )
        for field, value in CHANGES
    },
    "nothing said of capture": (
        "sidecar_capture",
        lambda pod: sidecar(pod)["env"].remove(environment(pod, "BARTIZAN_CAPTURE")),
    ),
    "redirect rules that nobody writes": (
        "sidecar_capture",
        lambda pod: environment(pod, "BARTIZAN_CAPTURE").update(value="redirect"),
    ),
    "the sidecar's audience in another volume": (
        "sidecar_token_elsewhere",
        lambda pod: pod["spec"]["volumes"].append(
            {
                "name": "mine",
                "projected": {"sources": [{"serviceAccountToken": {"audience": "bartizan", "path": "t"}}]},
            }
        ),
    ),
    "another key of the trust document": (
        "sidecar_volumes",
        lambda pod: next(v for v in pod["spec"]["volumes"] if v["name"] == names.TRUST_VOLUME)[
            "configMap"
        ].update(items=[{"key": "mine.json", "path": "trust.json"}]),
    ),
    "names of its own": (
        "name_resolution",
        lambda pod: _set(pod, hostAliases=[{"ip": "192.0.2.1", "hostnames": ["bartizan"]}]),
    ),
    "a resolver of its own": (
        "name_resolution",
        lambda pod: _set(pod, dnsPolicy="None", dnsConfig={"nameservers": ["192.0.2.1"]}),
    ),
    "the node's files": (
        "host_access",
        lambda pod: pod["spec"]["volumes"].append({"name": "node", "hostPath": {"path": "/var/lib/kubelet"}}),
    ),
    "the node's memory": ("host_access", lambda pod: _set(pod, hostIPC=True)),
    "the sidecar's user": (
        "user_clash",
        lambda pod: model_of(pod).update(securityContext={"runAsUser": CONFIG.user_id}),
    ),
    "the sidecar's user for all": (
        "user_clash",
        lambda pod: _set(pod, securityContext={"runAsUser": CONFIG.user_id}),
    ),
    "excluded ports": (
        "excluded_ports",
        lambda pod: pod["metadata"]["annotations"].update({names.EXCLUDE_INBOUND: "9100"}),
    ),
    "a port left open without the annotation": (
        "sidecar_open_ports",
        lambda pod: sidecar(pod)["env"].append({"name": "BARTIZAN_OPEN_PORTS", "value": '{"9100":"x"}'}),
    ),
    "a port left open by a secret": (
        "sidecar_open_ports",
        lambda pod: sidecar(pod)["env"].append(
            {"name": "BARTIZAN_OPEN_PORTS", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}
        ),
    ),
    "an ephemeral container": (
        "ephemeral_containers",
        lambda pod: _set(pod, ephemeralContainers=[{"name": "debug", "image": "busybox"}]),
    ),
}
