"""What the injector tells an agent in a pod, as values; a ValueError says what was expected. Used by settings.py."""

from __future__ import annotations

import ipaddress
from typing import Literal, cast

import msgspec

from sidecar.agent.app_probes import AppProbe

Capture = Literal["", "port", "redirect"]


def addresses(text: str) -> tuple[str, ...]:
    """Of this pod, from the downward API: "10.1.2.3,fd00::3"."""
    return tuple(str(ipaddress.ip_address(each.strip())) for each in text.split(",") if each.strip())


def capture(text: str) -> Capture:
    if text not in {"port", "redirect"}:
        raise ValueError("one of port, redirect")
    return cast("Capture", text)


def app_probes(text: str) -> dict[str, AppProbe]:
    """By path of the health port."""
    try:
        return msgspec.json.decode(text, type=dict[str, AppProbe])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not what the injector writes: {error}") from None
