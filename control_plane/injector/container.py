"""The sidecar as Kubernetes runs it: container, volumes, what it is told, how it is probed and ended. Pure.

Non-root, read-only root, no capability, no privilege: it passes the `restricted` Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

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
TOKEN_MOUNT: Final = "/var/run/secrets/bartizan"
TOKEN_SECONDS: Final = 3600

# An emptyDir belongs to root; the agent makes a folder of its own in it, so that mode 0700 holds.
RUN_DIR: Final = f"{RUN_MOUNT}/agent"
STATE_DIR: Final = f"{STATE_MOUNT}/agent"

_FACTS: Final = (
    ("BARTIZAN_POD_NAME", "metadata.name"),
    ("BARTIZAN_POD_NAMESPACE", "metadata.namespace"),
    ("BARTIZAN_POD_UID", "metadata.uid"),
    ("BARTIZAN_POD_IPS", "status.podIPs"),
    ("BARTIZAN_NODE_NAME", "spec.nodeName"),
    ("BARTIZAN_SERVICE_ACCOUNT", "spec.serviceAccountName"),
)


def pinned(config: Config) -> Mapping[str, str]:
    """Variables whose values decide whom the sidecar believes: admission compares them, no pod may change them."""
    return {
        "BARTIZAN_CONTROL_PLANE": config.control_plane,
        "BARTIZAN_ATTEST": config.attest,
        "BARTIZAN_TRUST_FILE": f"{TRUST_MOUNT}/trust.json",
        "BARTIZAN_SERVICE_ACCOUNT_TOKEN_FILE": f"{TOKEN_MOUNT}/token",
    }


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
        "volumeMounts": _mounts(options),
    }
    if options.native:
        made["restartPolicy"] = "Always"
    else:
        # Kubernetes before 1.29 ends all containers at once and knows no `sleep` hook: serve on while routes to this
        # pod are withdrawn.
        wait = f"import time; time.sleep({min(5, options.drain_seconds)})"
        made["lifecycle"] = {"preStop": {"exec": {"command": ["python3", "-c", wait]}}}
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


def sidecar_volumes(config: Config, options: Options) -> list[Document]:
    """Only the sidecar mounts them."""
    token = {"audience": config.audience, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    volumes: list[Document] = [
        {"name": names.RUN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": names.STATE_VOLUME, "emptyDir": {"sizeLimit": "128Mi"}},
        {"name": names.TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {
            "name": names.TRUST_VOLUME,
            "configMap": {
                "name": config.trust_config_map,
                "items": [{"key": "trust.json", "path": "trust.json"}],
            },
        },
    ]
    if options.tls_secret:
        volumes.append({"name": names.TLS_VOLUME, "secret": {"secretName": options.tls_secret}})
    return volumes


def _environment(config: Config, options: Options, app_probes: Mapping[str, Any]) -> list[Document]:
    values = {
        **pinned(config),
        "BARTIZAN_RUN_DIR": RUN_DIR,
        "BARTIZAN_STATE_DIR": STATE_DIR,
        "BARTIZAN_CERT_DIR": TLS_MOUNT,
        "BARTIZAN_HEALTH_LISTEN": _listen(config.health_address),
        "BARTIZAN_CAPTURE": options.capture,
        "BARTIZAN_DRAIN_SECONDS": str(options.drain_seconds),
        "BARTIZAN_WORKERS": str(options.workers),
        "BARTIZAN_LOG_LEVEL": options.log_level,
        "TMPDIR": RUN_MOUNT,
    }
    if app_probes:
        values["BARTIZAN_APP_PROBES"] = json.dumps(app_probes, sort_keys=True, separators=(",", ":"))
    if config.otlp_endpoint:
        values["OTEL_EXPORTER_OTLP_ENDPOINT"] = config.otlp_endpoint
    told: list[Document] = [{"name": name, "value": value} for name, value in values.items()]
    return told + [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}} for name, field in _FACTS]


def _listen(address: str) -> str:
    return f"[{address}]:{names.HEALTH_PORT}" if ":" in address else f"{address}:{names.HEALTH_PORT}"


def _mounts(options: Options) -> list[Document]:
    mounts: list[Document] = [
        {"name": names.RUN_VOLUME, "mountPath": RUN_MOUNT},
        {"name": names.STATE_VOLUME, "mountPath": STATE_MOUNT},
        {"name": names.TOKEN_VOLUME, "mountPath": TOKEN_MOUNT, "readOnly": True},
        {"name": names.TRUST_VOLUME, "mountPath": TRUST_MOUNT, "readOnly": True},
    ]
    if options.tls_secret:
        mounts.append({"name": names.TLS_VOLUME, "mountPath": TLS_MOUNT, "readOnly": True})
    return mounts


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
