"""Every label, annotation, volume and port number by which a pod and its sidecar find each other."""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "bartizan.dev/"

# labels of namespaces
INJECTION: Final = DOMAIN + "injection"
"""enabled: every pod of the namespace gets a sidecar unless it opts out; requested: pods that ask for one do."""
INJECTION_VALUES: Final = ("enabled", "requested")
ENFORCE: Final = DOMAIN + "enforce"
""" "true": pods without a sidecar, and ways around it, are refused."""

# annotation of namespaces
OPT_OUT_IMAGES: Final = DOMAIN + "opt-out-images"
"""Comma list of images whose pods may opt out where enforced: the platform team's word, as it owns Namespace objects."""

# labels of pods
INJECT: Final = DOMAIN + "inject"
""" "true" or "false"; it wins over the namespace."""
GUARDED: Final = DOMAIN + "guarded"
"""Set by us on what we patched, so that NetworkPolicies can select it."""

# annotations of pods, written by people
CAPTURE: Final = DOMAIN + "capture"
MODEL_CONTAINER: Final = DOMAIN + "model-container"
MODEL_PORT: Final = DOMAIN + "model-port"
ENGINE: Final = DOMAIN + "engine"
PROTOCOL: Final = DOMAIN + "protocol"
LISTENER_PORT: Final = DOMAIN + "listener-port"
TLS_SECRET: Final = DOMAIN + "tls-secret"
MODEL_FILES: Final = DOMAIN + "model-files"
EXCLUDE_INBOUND: Final = DOMAIN + "exclude-inbound-ports"
DRAIN_SECONDS: Final = DOMAIN + "drain-seconds"
WORKERS: Final = DOMAIN + "workers"
LOG_LEVEL: Final = DOMAIN + "log-level"
NATIVE: Final = DOMAIN + "native-sidecar"
BIND_LOOPBACK: Final = DOMAIN + "bind-loopback"
REWRITE_PROBES: Final = DOMAIN + "rewrite-probes"
CPU_REQUEST: Final = DOMAIN + "cpu-request"
CPU_LIMIT: Final = DOMAIN + "cpu-limit"
MEMORY_REQUEST: Final = DOMAIN + "memory-request"
MEMORY_LIMIT: Final = DOMAIN + "memory-limit"
READ: Final = frozenset(
    {
        CAPTURE,
        MODEL_CONTAINER,
        MODEL_PORT,
        ENGINE,
        PROTOCOL,
        LISTENER_PORT,
        TLS_SECRET,
        MODEL_FILES,
        EXCLUDE_INBOUND,
        DRAIN_SECONDS,
        WORKERS,
        LOG_LEVEL,
        NATIVE,
        BIND_LOOPBACK,
        REWRITE_PROBES,
        CPU_REQUEST,
        CPU_LIMIT,
        MEMORY_REQUEST,
        MEMORY_LIMIT,
    }
)

# annotations of pods, written by us
GUESS: Final = DOMAIN + "guess"
STATUS: Final = DOMAIN + "status"
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
WRITTEN: Final = frozenset({GUESS, STATUS})

TRUST_CONFIG_MAP: Final = "bartizan-trust"
"""In the pod's namespace, key trust.json; RBAC lets the control plane write no other name."""
SIDECAR: Final = "bartizan-sidecar"
CAPTURE_INIT: Final = "bartizan-capture"
VOLUME_PREFIX: Final = "bartizan-"
RUN_VOLUME: Final = VOLUME_PREFIX + "run"
STATE_VOLUME: Final = VOLUME_PREFIX + "state"
TOKEN_VOLUME: Final = VOLUME_PREFIX + "token"
TRUST_VOLUME: Final = VOLUME_PREFIX + "trust"
TLS_VOLUME: Final = VOLUME_PREFIX + "tls"
MODELS_VOLUME: Final = VOLUME_PREFIX + "models"

LISTENER_PORT_NAME: Final = "bartizan"
HEALTH_PORT_NAME: Final = "bartizan-health"
HEALTH_PORT: Final = 15020
EGRESS_PORT: Final = 15001
"""Envoy's way out, on loopback; only where the configuration lists names."""
PROBE_PATH: Final = "/app-probes"
"""On the health port: the kubelet's probes of other containers, asked again by the agent over loopback."""
