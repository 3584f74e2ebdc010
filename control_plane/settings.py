"""The control plane's settings: BARTIZAN_CP_* variables, read once at start; every mistake is reported at once."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from bartizan.errors import InvalidInput, Problem
from control_plane.secrets.providers.places import Places

_PREFIX = "BARTIZAN_CP_"
_OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
_LOG_LEVEL = "BARTIZAN_LOG_LEVEL"
_LEVELS = ("debug", "info", "warning", "error")
_TRUST_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?", re.ASCII)
_MOUNT = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)

T = TypeVar("T")
TokenCheck = Literal["review", "jwks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a port listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
        replicas=reader.get("REPLICAS", _replicas, "1"),
        api=reader.get("API_LISTEN", _address, "127.0.0.1:8440"),
        grpc=reader.get("GRPC_LISTEN", _address, "127.0.0.1:18000"),
        attest=reader.get("ATTEST_LISTEN", _address, "127.0.0.1:18001"),
        metrics=reader.get("METRICS_LISTEN", _address, "127.0.0.1:9090"),
        advertise=reader.get("ADVERTISE", _matching(_HOST, "a host name or address"), "127.0.0.1"),
        trust_domain=reader.get(
            "TRUST_DOMAIN", _matching(_TRUST_DOMAIN, "a trust domain such as prod.example")
        ),
        vault_address=reader.get("VAULT_ADDR", _vault_url),
        vault_token_file=reader.get("VAULT_TOKEN_FILE", _absolute),
        vault_ca_file=reader.get("VAULT_CACERT", _optional_file, ""),
        vault_kv=reader.get("VAULT_KV", _matching(_MOUNT, "a mount path"), "bartizan-kv"),
        vault_pki=reader.get("VAULT_PKI", _matching(_MOUNT, "a mount path"), "bartizan-pki"),
        vault_transit=reader.get("VAULT_TRANSIT", _matching(_MOUNT, "a mount path"), "bartizan-transit"),
        signing_key=reader.get(
            "SIGNING_KEY", _matching(_MOUNT, "the name of a transit key"), "bartizan-bundles"
        ),
        providers=reader.get("PROVIDERS", Places.parse, ""),
        rotation_lease=reader.get("ROTATION_LEASE_SECONDS", _seconds, "30"),
        rotation_soak=reader.get("ROTATION_SOAK_SECONDS", _seconds, "10"),
        rotation_drain=reader.get("ROTATION_DRAIN_SECONDS", _seconds, "60"),
        kubernetes=reader.get("KUBERNETES", _cluster, ""),
        kubernetes_tokens=reader.get("KUBERNETES_TOKENS", _token_check, "review"),
        kubernetes_namespace=reader.get(
            "KUBERNETES_NAMESPACE", _matching(_NAMESPACE, "a namespace"), "bartizan-system"
        ),
        webhook=reader.get("WEBHOOK_LISTEN", _optional_address, ""),
        injector=reader.get("INJECTOR_CONFIG", _optional_file, ""),
        audit_days=reader.get("AUDIT_DAYS", _days, "90"),
        otlp_endpoint=reader.get(_OTLP, _optional_url, ""),
        log_level=reader.get(_LOG_LEVEL, _level, "info"),
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
    state_dir = reader.get("STATE_DIR", _absolute, "/var/lib/bartizan")
    return state_dir, reader.get("STORE", _url, f"sqlite+aiosqlite:///{state_dir}/store.db")


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


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _optional_file(text: str) -> Path | None:
    return _absolute(text) if text else None


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT")
    return Address(host=host, port=int(port))


def read_address(text: str) -> Address:
    """For a command line. Raises InvalidInput."""
    try:
        return _address(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} {error}") from None


def _optional_address(text: str) -> Address | None:
    return _address(text) if text else None


def _url(text: str) -> str:
    if not re.match(r"(sqlite\+aiosqlite|postgresql\+asyncpg)://", text):
        raise ValueError(
            "must be an SQLAlchemy URL that begins with sqlite+aiosqlite:// or postgresql+asyncpg://"
        )
    return text


def _vault_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError("must be https://HOST:PORT")
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ValueError("must be https beyond loopback: a token is sent there")
    return text.rstrip("/")


def _optional_url(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("must be http://HOST:PORT of an OTLP gRPC receiver")
    return text


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(f"must be {what}")
        return text

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 30 * 86400:
        raise ValueError("must be a number of seconds")
    return seconds


def _cluster(text: str) -> str:
    if text not in {"", "in-cluster"} and not Path(text).is_absolute():
        raise ValueError("must be in-cluster or the absolute path of a kubeconfig")
    if text and importlib.util.find_spec("kubernetes_asyncio") is None:
        raise ValueError("needs the extra kubernetes: pip install 'bartizan[kubernetes]'")
    return text


def _token_check(text: str) -> TokenCheck:
    match text:
        case "review" | "jwks":
            return text
    raise ValueError("must be review or jwks")


def _replicas(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise ValueError("must be a whole number, 1 or more")
    return int(text)


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 36500:
        raise ValueError("must be a whole number of days, 0 for ever")
    return int(text)


def _level(text: str) -> str:
    if text.lower() not in _LEVELS:
        raise ValueError(f"must be one of {', '.join(_LEVELS)}")
    return text.lower()
