"""Every metric name of Bartizan, in one place. Labels are bounded sets: never tenants, keys, paths or text.

docs/telemetry.md lists them; a test compares the two.
"""

from __future__ import annotations

from bartizan.telemetry.hot import HotCounter, HotHistogram
from bartizan.telemetry.lean_prometheus import Counter, Gauge, Histogram

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

# guard worker
DECISIONS = HotCounter(
    "bartizan_decisions_total", "Decisions by phase, action and cause.", ["phase", "action", "cause"]
)
PHASE_SECONDS = HotHistogram("bartizan_phase_seconds", "Time in one phase of a request.", "phase", _FAST)
FINDINGS = HotCounter(
    "bartizan_findings_total", "Findings by check, kind and action.", ["check", "kind", "action"]
)
CHECK_CHILD_FAULTS = Counter(
    "bartizan_check_child_faults_total",
    "Questions that a check's child process did not answer, by child and reason: each is a 503.",
    ["child", "reason"],
)
# agent
POLICY_VERSION = Gauge("bartizan_policy_version", "Version of the bundle that is enforced.")
POLICY_AGE = Gauge(
    "bartizan_policy_age_seconds", "Seconds since the control plane last confirmed the bundle."
)
BUNDLES_REFUSED = Counter("bartizan_bundles_refused_total", "Bundles refused (NACK) by reason.", ["reason"])
PROBES = Counter("bartizan_probes_total", "Probes through the real listener by result.", ["result"])
CHILD_RESTARTS = Counter("bartizan_child_restarts_total", "Restarts of child processes.", ["child"])
AUDIT_LOST = Counter("bartizan_audit_lost_total", "Audit records lost on their way; each gap is recorded.")
AUDIT_QUEUE = Gauge("bartizan_audit_queue", "Audit records waiting to be shipped.")
CONNECTED = Gauge("bartizan_control_plane_connected", "1 while the ADS stream to the control plane is open.")
SPANS_DROPPED = Counter(
    "bartizan_spans_dropped_total",
    "Batches of spans (of a worker: decisions) not forwarded, by reason.",
    ["reason"],
)
# control plane
API_REQUESTS = Counter(
    "bartizan_api_requests_total", "REST requests by route and status.", ["route", "status"]
)
PUBLISHED = Counter("bartizan_bundles_published_total", "Bundles published.")
ACKS = Counter("bartizan_xds_acks_total", "ACK and NACK by type and result.", ["type", "result"])
CALLS_REFUSED = Counter(
    "bartizan_calls_refused_total",
    "Calls of sidecars refused before they were served, by reason.",
    ["reason"],
)
INSTANCES = Gauge("bartizan_instances", "Live instances.")
REPLICAS = Gauge("bartizan_replicas", "Replicas that are alive; 0 while this one is behind.")
ROTATION_PHASE = Gauge("bartizan_rotation_phase", "1 for the phase each rotation is in.", ["secret", "phase"])
VAULT_SECONDS = Histogram(
    "bartizan_vault_seconds", "Calls to Vault by operation.", ["operation"], buckets=_FAST
)
VAULT_ERRORS = Counter("bartizan_vault_errors_total", "Failed calls to Vault by operation.", ["operation"])
RECONCILES = Counter(
    "bartizan_kubernetes_reconciles_total", "ModelPolicy objects applied or deleted, by result.", ["result"]
)
RECONCILE_LEADER = Gauge("bartizan_kubernetes_leader", "1 while this replica reconciles ModelPolicy objects.")
ADMISSIONS = Counter(
    "bartizan_admissions_total", "Admission reviews answered, by webhook and outcome.", ["webhook", "outcome"]
)
ADMISSION_SECONDS = Histogram(
    "bartizan_admission_seconds", "Time of an admission review by webhook.", ["webhook"], buckets=_FAST
)
UPKEEP_FAILURES = Counter(
    "bartizan_upkeep_failures_total", "Looks after webhook roots and trust documents that failed."
)
WEBHOOK_CERTIFICATE_ENDS = Gauge(
    "bartizan_webhook_certificate_ends_seconds",
    "When the webhook's certificate ends, seconds since the epoch.",
)
AUDIT_STORED = Counter("bartizan_audit_stored_total", "Audit records and gaps stored by the control plane.")
