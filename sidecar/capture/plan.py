"""What shall hold in a pod's network, in no tool's language. Pure.

Inbound needs no exception for the sidecar's user: Envoy reaches the model over loopback, which is never redirected, and
what the agent asks at the pod's own address shall meet Envoy, too: so it sees whether the rules work.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from bartizan.errors import InvalidInput, Problem

Egress = Literal["open", "public", "none"]
EGRESS: Final[tuple[Egress, ...]] = ("open", "public", "none")

INTERNAL: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",  # cloud metadata services are at 169.254.169.254
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "64:ff9b::/96",  # NAT64 would lead to any of the addresses above
    "fc00::/7",  # also AWS's metadata service, fd00:ec2::254
    "fe80::/10",
    "ff00::/8",
)
"""Special-purpose addresses that are not the public internet (IANA's registries, RFC 6890)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """to_port: Envoy's listener. excluded: ports that stay as they are, the health port among them.

    egress: what processes of other users than the sidecar's may reach: everything, only public addresses, or nothing.
    Loopback, the pod's own addresses, name servers (port 53) and `allowed` stay open.
    """

    to_port: int
    sidecar_uid: int
    excluded: tuple[int, ...]
    egress: Egress = "open"
    allowed: tuple[str, ...] = ()
    name_servers: tuple[str, ...] = ()
    egress_port: int = 0
    """Envoy's way out: TCP connections to blocked networks are led there, where names are judged; 0 for none."""

    @property
    def open_ports(self) -> tuple[int, ...]:
        """Ports whose connections are not led elsewhere."""
        return tuple(sorted({self.to_port, *self.excluded}))

    def blocked(self, version: int) -> tuple[str, ...]:
        """Networks of an IP version that other users can't reach."""
        match self.egress:
            case "open":
                return ()
            case "public":
                return of_version(INTERNAL, version)
            case "none":
                return ("0.0.0.0/0",) if version == 4 else ("::/0",)


def of_version(networks: Iterable[str], version: int) -> tuple[str, ...]:
    """Those networks or addresses of one IP version, written canonically, without repetition."""
    parsed = [ipaddress.ip_network(each) for each in networks]
    return tuple(dict.fromkeys(str(each) for each in parsed if each.version == version))


def make_plan(
    *,
    to_port: int,
    sidecar_uid: int,
    excluded: str,
    egress: str = "open",
    allowed: str = "",
    name_servers: Iterable[str] = (),
    egress_port: int = 0,
) -> Plan:
    """From the texts of a command line. Raises InvalidInput with every mistake."""
    problems: list[Problem] = []
    ports: set[int] = set()
    for text in filter(None, (each.strip() for each in excluded.split(","))):
        if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= 65535:
            problems.append(_problem("--exclude-inbound", f"{text[:32]!r} is no port"))
        else:
            ports.add(int(text))
    networks: list[str] = []
    for text in filter(None, (each.strip() for each in allowed.split(","))):
        try:
            networks.append(str(ipaddress.ip_network(text)))
        except ValueError:
            problems.append(_problem("--allow-egress", f"{text[:64]!r} is no address or network"))
    if not 1 <= to_port <= 65535:
        problems.append(_problem("--to-port", "must be a port"))
    if not 0 <= egress_port <= 65535:
        problems.append(_problem("--egress-port", "must be a port, or 0"))
    if sidecar_uid < 1:
        problems.append(
            _problem("--sidecar-uid", "must not be root: root's processes would be let past, too")
        )
    if egress not in EGRESS:
        problems.append(_problem("--egress", f"must be one of {', '.join(EGRESS)}"))
    if problems:
        raise InvalidInput("these rules can't be made", problems)
    return Plan(
        to_port=to_port,
        sidecar_uid=sidecar_uid,
        excluded=tuple(sorted(ports)),
        egress=next(each for each in EGRESS if each == egress),
        allowed=tuple(networks),
        name_servers=tuple(name_servers),
        egress_port=egress_port,
    )


def _problem(option: str, message: str) -> Problem:
    return Problem(path=option, code="invalid_option", message=message)
