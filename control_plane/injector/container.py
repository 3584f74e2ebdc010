"""The sidecar as Kubernetes runs it: container, volumes, what it is told, how it is probed and ended. Pure.

Non-root, read-only root, no capability, no privilege: it passes the `restricted` Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/).
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any, Final

from control_plane.identity.projected import AUDIENCE
from control_plane.injector import names
from control_plane.injector.config import Config, ResourceList
from control_plane.injector.options import Options
from control_plane.injector.pods import Document

COMMAND: Final = ("bartizan", "sidecar")
GRACE_SECONDS: Final = 15
"""What the agent needs after the drain to ship its last records and end its children."""

RUN_MOUNT: Final = "/run/bartizan"
STATE_MOUNT: Final = "/var/lib/bartizan"
TRUST_MOUNT: Final = "/etc/bartizan/trust"
TLS_MOUNT: Final = "/etc/bartizan/certs"
MODELS_MOUNT: Final = "/etc/bartizan/models"
TOKEN_MOUNT: Final = "/var/run/secrets/bartizan"
TOKEN_SECONDS: Final = 3600

# An emptyDir belongs to root; the agent makes a folder of its own in it, so that mode 0700 holds.
RUN_DIR: Final = f"{RUN_MOUNT}/agent"
STATE_DIR: Final = f"{STATE_MOUNT}/agent"

MOUNTS: Final = {
    names.RUN_VOLUME: RUN_MOUNT,
    names.STATE_VOLUME: STATE_MOUNT,
    names.TOKEN_VOLUME: TOKEN_MOUNT,
    names.TRUST_VOLUME: TRUST_MOUNT,
    names.TLS_VOLUME: TLS_MOUNT,
    names.MODELS_VOLUME: MODELS_MOUNT,
}
"""Volume -> where the sidecar mounts it."""
OPTIONAL: Final = frozenset({names.TLS_VOLUME, names.MODELS_VOLUME})
"""There only where the pod asks for them."""
_WRITABLE: Final = frozenset({names.RUN_VOLUME, names.STATE_VOLUME})

OPEN_PORTS: Final = "BARTIZAN_OPEN_PORTS"
FACTS: Final = (
    ("BARTIZAN_POD_NAME", "metadata.name"),
    ("BARTIZAN_POD_NAMESPACE", "metadata.namespace"),
    ("BARTIZAN_POD_UID", "metadata.uid"),
    ("BARTIZAN_POD_IPS", "status.podIPs"),
    ("BARTIZAN_NODE_NAME", "spec.nodeName"),
    ("BARTIZAN_SERVICE_ACCOUNT", "spec.serviceAccountName"),
)


def fixed_environment(config: Config) -> Mapping[str, str]:
    """Variables that say whom the sidecar believes and where it looks: admission compares their values."""
    return {
        "BARTIZAN_CONTROL_PLANE": config.control_plane,
        "BARTIZAN_ATTEST": config.attest,
        "BARTIZAN_TRUST_FILE": f"{TRUST_MOUNT}/trust.json",
        "BARTIZAN_KUBERNETES_TOKEN_FILE": f"{TOKEN_MOUNT}/token",
        "BARTIZAN_RUN_DIR": RUN_DIR,
        "BARTIZAN_STATE_DIR": STATE_DIR,
        "BARTIZAN_CERT_DIR": TLS_MOUNT,
        "BARTIZAN_HEALTH_LISTEN": _listen(config.health_address),
        "TMPDIR": RUN_MOUNT,
        **({"BARTIZAN_EGRESS_NAMES": ",".join(config.egress_names)} if config.egress_names else {}),
    }


def open_ports(config: Config, asked: Mapping[int, str]) -> str:
    """What the agent is told of ports that may answer around it; "" for none. asked: the pod's, those without reason stay."""
    reasons = {port: why for port, why in asked.items() if why}
    reasons |= {each.port: each.reason for each in config.open_ports}
    return json.dumps(reasons, sort_keys=True, separators=(",", ":")) if reasons else ""


def free_environment() -> tuple[str, ...]:
    """Variables whose values are the pod's to choose; any other name is refused at admission."""
    return (
        "BARTIZAN_CAPTURE",
        "BARTIZAN_DRAIN_SECONDS",
        "BARTIZAN_WORKERS",
        "BARTIZAN_LOG_LEVEL",
        "BARTIZAN_APP_PROBES",
        OPEN_PORTS,
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    )


def pre_stop(seconds: int) -> tuple[str, ...]:
    """Kubernetes before 1.29 ends all containers at once and knows no `sleep` hook: serve on while routes to this pod
    are withdrawn.
    """
    return ("python3", "-c", f"import time; time.sleep({seconds})")


def sidecar_container(
    config: Config, options: Options, port_name: str, app_probes: Mapping[str, Any]
) -> Document:
    """port_name: under which Services find the listener; app_probes: what the agent asks for the kubelet."""
    made: Document = {
        "name": names.SIDECAR,
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": list(COMMAND),
        "env": _environment(config, options, app_probes),
        "ports": [
            {"name": port_name, "containerPort": options.listener_port, "protocol": "TCP"},
            {"name": names.HEALTH_PORT_NAME, "containerPort": names.HEALTH_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(options),
        "securityContext": security_context(config.user_id),
        # The model may start once the agent lives; traffic comes only when the policy is proven.
        "startupProbe": _probe("/healthz", period=1, failures=60),
        "readinessProbe": _probe("/readyz", period=3, failures=2),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts({each["name"] for each in sidecar_volumes(options)}),
    }
    if options.native:
        made["restartPolicy"] = "Always"
    else:
        made["lifecycle"] = {"preStop": {"exec": {"command": list(pre_stop(min(5, options.drain_seconds)))}}}
    return made


def security_context(user: int) -> Document:
    """The most that the restricted profile asks for, and a read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": user,
        "runAsNonRoot": True,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def sidecar_volumes(options: Options) -> list[Document]:
    """Only the sidecar mounts them."""
    token = {"audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    volumes: list[Document] = [
        {"name": names.RUN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": names.STATE_VOLUME, "emptyDir": {"sizeLimit": "128Mi"}},
        {"name": names.TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {
            "name": names.TRUST_VOLUME,
            "configMap": {
                "name": names.TRUST_CONFIG_MAP,
                "items": [{"key": "trust.json", "path": "trust.json"}],
            },
        },
    ]
    if options.tls_secret:
        volumes.append({"name": names.TLS_VOLUME, "secret": {"secretName": options.tls_secret}})
    if (source := _model_files(options.model_files)) is not None:
        volumes.append({"name": names.MODELS_VOLUME, **source})
    return volumes


def _model_files(told: str) -> Document | None:
    """Which files count is the policy's word, by hash: what else lies in the volume is never read."""
    kind, _, name = told.partition("/")
    match kind:
        case "claim":
            return {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}
        case "configmap":
            return {"configMap": {"name": name}}
        case "image":
            return {"image": {"reference": name, "pullPolicy": "IfNotPresent"}}
    return None


def _environment(config: Config, options: Options, app_probes: Mapping[str, Any]) -> list[Document]:
    values = {
        **fixed_environment(config),
        "BARTIZAN_CAPTURE": options.capture,
        "BARTIZAN_DRAIN_SECONDS": str(options.drain_seconds),
        "BARTIZAN_WORKERS": str(options.workers),
        "BARTIZAN_LOG_LEVEL": options.log_level,
    }
    if left_open := open_ports(config, options.excluded):
        values[OPEN_PORTS] = left_open
    if app_probes:
        values["BARTIZAN_APP_PROBES"] = json.dumps(app_probes, sort_keys=True, separators=(",", ":"))
    if config.otlp_endpoint:
        values["OTEL_EXPORTER_OTLP_ENDPOINT"] = config.otlp_endpoint
    told: list[Document] = [{"name": name, "value": value} for name, value in values.items()]
    return told + [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}} for name, field in FACTS]


def _listen(address: str) -> str:
    return f"[{address}]:{names.HEALTH_PORT}" if ":" in address else f"{address}:{names.HEALTH_PORT}"


def _mounts(volumes: Container[str]) -> list[Document]:
    return [
        {"name": name, "mountPath": path, **({} if name in _WRITABLE else {"readOnly": True})}
        for name, path in MOUNTS.items()
        if name in volumes
    ]


def _resources(options: Options) -> Document:
    def quantities(given: ResourceList) -> Document:
        return {name: value for name, value in (("cpu", given.cpu), ("memory", given.memory)) if value}

    limits = quantities(options.resources.limits)
    made = {"requests": quantities(options.resources.requests)}
    return {**made, "limits": limits} if limits else made


def _probe(path: str, *, period: int, failures: int) -> Document:
    return {
        "httpGet": {"path": path, "port": names.HEALTH_PORT, "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 3,
    }
