"""The control plane's settings: BARTIZAN_CP_* variables, read once at start; every mistake is reported at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bartizan.errors import InvalidInput, Problem
from control_plane import setting_values as values
from control_plane.secrets.providers.places import Places
from control_plane.setting_values import Address, TokenCheck

_PREFIX = "BARTIZAN_CP_"
_OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
_LOG_LEVEL = "BARTIZAN_LOG_LEVEL"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the control plane must know before it starts."""

    state_dir: Path
    """Mode 0700: the embedded store, the bootstrap token, the CA certificate for clients (ca.pem)."""
    store: str
    """SQLAlchemy URL; may hold a password, so it is never shown."""
    replicas: int
    """How many control planes share the store; more than one only with PostgreSQL."""
    api: Address
    grpc: Address
    attest: Address
    metrics: Address
    advertise: str
    """The host that sidecars and clients use; part of join tokens and of our certificate."""
    trust_domain: str
    vault_address: str
    vault_token_file: Path
    vault_ca_file: Path | None
    vault_kv: str
    vault_pki: str
    vault_transit: str
    signing_key: str
    """The transit key that signs bundles."""
    providers: Places
    """Where key providers may be."""
    rotation_lease: float
    rotation_soak: float
    rotation_drain: float
    kubernetes: str
    """"" for none, "in-cluster", or the path of a kubeconfig."""
    kubernetes_tokens: TokenCheck
    """How pods' tokens are checked."""
    kubernetes_namespace: str
    """Where the lease of the one replica that reconciles is: our own namespace."""
    webhook: Address | None
    """Where the admission webhooks listen; None: they don't."""
    injector: Path | None
    """The injector's configuration, for the webhooks."""
    audit_days: int
    """How long decision records are kept; 0: for ever."""
    otlp_endpoint: str
    log_level: str


def from_environment() -> Settings:
    """The process's settings. Raises InvalidInput with every mistake."""
    return read(os.environ)


def read(variables: Mapping[str, str]) -> Settings:
    """Settings from variables. Raises InvalidInput with every mistake, each named by its variable."""
    reader = _Reader(variables)
    state_dir, store = _places(reader)
    settings = Settings(
        state_dir=state_dir,
        store=store,
        replicas=reader.get("REPLICAS", values.replicas, "1"),
        api=reader.get("API_LISTEN", values.address, "127.0.0.1:8440"),
        grpc=reader.get("GRPC_LISTEN", values.address, "127.0.0.1:18000"),
        attest=reader.get("ATTEST_LISTEN", values.address, "127.0.0.1:18001"),
        metrics=reader.get("METRICS_LISTEN", values.address, "127.0.0.1:9090"),
        advertise=reader.get(
            "ADVERTISE", values.matching(values.HOST, "a host name or address"), "127.0.0.1"
        ),
        trust_domain=reader.get(
            "TRUST_DOMAIN", values.matching(values.TRUST_DOMAIN, "a trust domain such as prod.example")
        ),
        vault_address=reader.get("VAULT_ADDR", values.vault_url),
        vault_token_file=reader.get("VAULT_TOKEN_FILE", values.absolute_path),
        vault_ca_file=reader.get("VAULT_CACERT", values.optional_path, ""),
        vault_kv=reader.get("VAULT_KV", values.matching(values.MOUNT, "a mount path"), "bartizan-kv"),
        vault_pki=reader.get("VAULT_PKI", values.matching(values.MOUNT, "a mount path"), "bartizan-pki"),
        vault_transit=reader.get(
            "VAULT_TRANSIT", values.matching(values.MOUNT, "a mount path"), "bartizan-transit"
        ),
        signing_key=reader.get(
            "SIGNING_KEY", values.matching(values.MOUNT, "the name of a transit key"), "bartizan-bundles"
        ),
        providers=reader.get("PROVIDERS", Places.parse, ""),
        rotation_lease=reader.get("ROTATION_LEASE_SECONDS", values.seconds, "30"),
        rotation_soak=reader.get("ROTATION_SOAK_SECONDS", values.seconds, "10"),
        rotation_drain=reader.get("ROTATION_DRAIN_SECONDS", values.seconds, "60"),
        kubernetes=reader.get("KUBERNETES", values.cluster, ""),
        kubernetes_tokens=reader.get("KUBERNETES_TOKENS", values.token_check, "review"),
        kubernetes_namespace=reader.get(
            "KUBERNETES_NAMESPACE", values.matching(values.NAMESPACE, "a namespace"), "bartizan-system"
        ),
        webhook=reader.get("WEBHOOK_LISTEN", values.optional_address, ""),
        injector=reader.get("INJECTOR_CONFIG", values.optional_path, ""),
        audit_days=reader.get("AUDIT_DAYS", values.days, "90"),
        otlp_endpoint=reader.get(_OTLP, values.optional_url, ""),
        log_level=reader.get(_LOG_LEVEL, values.log_level, "info"),
    )
    if settings.webhook is not None:
        reader.need("INJECTOR_CONFIG", settings.injector, "WEBHOOK_LISTEN: says what pods get")
        reader.need("KUBERNETES", settings.kubernetes, "WEBHOOK_LISTEN: the webhooks belong to a cluster")
    if settings.store and (settings.replicas or 0) > 1:
        shared = settings.store if settings.store.startswith("postgresql") else ""
        reader.need(
            "STORE", shared, "REPLICAS: several share a PostgreSQL, postgresql+asyncpg://…; SQLite is for one"
        )
    reader.finish()
    return settings


def read_store(variables: Mapping[str, str]) -> str:
    """The store's URL alone, for who has the host and perhaps no other setting. Raises InvalidInput."""
    reader = _Reader(variables)
    _, store = _places(reader)
    reader.refuse()
    return store


def _places(reader: _Reader) -> tuple[Path, str]:
    state_dir = reader.get("STATE_DIR", values.absolute_path, "/var/lib/bartizan")
    return state_dir, reader.get("STORE", values.store_url, f"sqlite+aiosqlite:///{state_dir}/store.db")


class _Reader:
    """Collects problems instead of stopping at the first."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._known: set[str] = set()
        self._problems: list[Problem] = []

    def get(self, name: str, parse: Callable[[str], T], default: str | None = None) -> T:
        variable = name if name in {_OTLP, _LOG_LEVEL} else _PREFIX + name
        self._known.add(variable)
        text = self._variables.get(variable, "").strip() or default
        try:
            if text is None:
                raise ValueError("must be set")
            return parse(text)
        except ValueError as error:
            self._problems.append(Problem(path=variable, code="invalid_setting", message=str(error)))
            # finish() raises before anybody sees this.
            return None  # type: ignore[return-value]

    def need(self, name: str, value: object, because: str) -> None:
        """Another setting makes this one necessary."""
        if not value:
            path, message = _PREFIX + name, f"needed by {_PREFIX}{because}"
            self._problems.append(Problem(path=path, code="missing_setting", message=message))

    def finish(self) -> None:
        for variable in sorted(self._variables):
            if variable.startswith(_PREFIX) and variable not in self._known:
                self._problems.append(
                    Problem(path=variable, code="unknown_setting", message="no such setting")
                )
        self.refuse()

    def refuse(self) -> None:
        if self._problems:
            raise InvalidInput("the control plane's settings are wrong", self._problems)
