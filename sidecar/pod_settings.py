"""What the injector tells an agent in a pod, as values; a ValueError says what was expected. Used by settings.py."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, cast

import msgspec

from sidecar.agent.app_probes import AppProbe

_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
Capture = Literal["", "port", "redirect"]


def addresses(text: str) -> tuple[str, ...]:
    """Of this pod, from the downward API: "10.1.2.3,fd00::3"."""
    return tuple(str(ipaddress.ip_address(each.strip())) for each in text.split(",") if each.strip())


def capture(text: str) -> Capture:
    if text not in {"port", "redirect"}:
        raise ValueError("one of port, redirect")
    return cast("Capture", text)


def open_ports(text: str) -> dict[int, str]:
    """Port -> why it is left open."""
    try:
        found = msgspec.json.decode(text, type=dict[int, str])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not what the injector writes: {error}") from None
    for port, reason in found.items():
        if not 1 <= port <= 65535 or not reason.strip():
            raise ValueError("a port from 1 to 65535 with the reason why it is left open")
    return found


def app_probes(text: str) -> dict[str, AppProbe]:
    """By path of the health port."""
    try:
        return msgspec.json.decode(text, type=dict[str, AppProbe])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not what the injector writes: {error}") from None


def egress_names(text: str) -> tuple[str, ...]:
    """Host names, or "*." and a domain: every name below it."""
    names = tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not a host name: {name[:64]!r}")
    return names
