"""Which ports of this pod take connections from outside: the kernel's own table of sockets, parsed. Pure but for `read`.

Containers of a pod share one network, so this process sees what all of them listen on.
https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_LISTEN = "0A"
_TABLES = Path("/proc/self/net")
ByteOrder = Literal["little", "big"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A socket in state LISTEN; `address` may be a wildcard (0.0.0.0, ::)."""

    address: str
    port: int


def parse(table: str, byteorder: ByteOrder = sys.byteorder) -> Iterator[Listening]:
    """Of the text of /proc/net/tcp or tcp6: addresses are words in the machine's byte order. Raises ValueError."""
    for line in table.splitlines()[1:]:
        fields = line.split(maxsplit=4)
        if len(fields) < 4:
            raise ValueError(f"not a socket: {line[:64]!r}")
        if fields[3] == _LISTEN:
            word, _, port = fields[1].partition(":")
            yield Listening(address=_address(bytes.fromhex(word), byteorder), port=int(port, 16))


def beyond_loopback(sockets: Iterable[Listening], pod_addresses: Iterable[str]) -> frozenset[tuple[str, int]]:
    """Address and port at which each socket can be asked from outside of the pod."""
    own = [ipaddress.ip_address(each) for each in pod_addresses]
    found: set[tuple[str, int]] = set()
    for each in sockets:
        address = ipaddress.ip_address(each.address)
        if not address.is_unspecified:
            asked = [address] if address in own or not address.is_loopback else []
        elif address.version == 4:
            asked = [one for one in own if one.version == 4]
        else:
            asked = list(own)  # also takes IPv4, unless it was told not to
        found |= {(str(one), each.port) for one in asked}
    return frozenset(found)


def read() -> list[Listening]:
    """What this network listens on. Raises OSError or ValueError when that can't be found out."""
    found = [*parse((_TABLES / "tcp").read_text("ascii"))]
    version_6 = _TABLES / "tcp6"
    if version_6.exists():  # not where IPv6 is switched off
        found += parse(version_6.read_text("ascii"))
    return found


def _address(raw: bytes, byteorder: ByteOrder) -> str:
    if len(raw) not in {4, 16}:
        raise ValueError("not an address of IPv4 or IPv6")
    words = [raw[start : start + 4] for start in range(0, len(raw), 4)]
    packed = b"".join(word[::-1] if byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
