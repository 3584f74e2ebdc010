"""What a setting's text may be (settings.py): a function for each kind. They raise ValueError, in words that follow the
variable's name.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bartizan.errors import InvalidInput

TRUST_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?", re.ASCII)
MOUNT = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_LEVELS = ("debug", "info", "warning", "error")

TokenCheck = Literal["review", "jwks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a port listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def absolute_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def optional_path(text: str) -> Path | None:
    return absolute_path(text) if text else None


def address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT")
    return Address(host=host, port=int(port))


def read_address(text: str) -> Address:
    """For a command line. Raises InvalidInput."""
    try:
        return address(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} {error}") from None


def optional_address(text: str) -> Address | None:
    return address(text) if text else None


def store_url(text: str) -> str:
    if not re.match(r"(sqlite\+aiosqlite|postgresql\+asyncpg)://", text):
        raise ValueError(
            "must be an SQLAlchemy URL that begins with sqlite+aiosqlite:// or postgresql+asyncpg://"
        )
    return text


def vault_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError("must be https://HOST:PORT")
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ValueError("must be https beyond loopback: a token is sent there")
    return text.rstrip("/")


def optional_url(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("must be http://HOST:PORT of an OTLP gRPC receiver")
    return text


def matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(f"must be {what}")
        return text

    return parse


def seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0.0 <= found <= 30 * 86400:
        raise ValueError("must be a number of seconds")
    return found


def cluster(text: str) -> str:
    if text not in {"", "in-cluster"} and not Path(text).is_absolute():
        raise ValueError("must be in-cluster or the absolute path of a kubeconfig")
    if text and importlib.util.find_spec("kubernetes_asyncio") is None:
        raise ValueError("needs the extra kubernetes: pip install 'bartizan[kubernetes]'")
    return text


def token_check(text: str) -> TokenCheck:
    match text:
        case "review" | "jwks":
            return text
    raise ValueError("must be review or jwks")


def replicas(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise ValueError("must be a whole number, 1 or more")
    return int(text)


def days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 36500:
        raise ValueError("must be a whole number of days, 0 for ever")
    return int(text)


def log_level(text: str) -> str:
    if text.lower() not in _LEVELS:
        raise ValueError(f"must be one of {', '.join(_LEVELS)}")
    return text.lower()
