"""The name servers of this pod, which stay reachable whatever egress is blocked."""

from __future__ import annotations

import ipaddress
from pathlib import Path


def name_servers(file: Path) -> tuple[str, ...]:
    """Addresses in resolv.conf; none when it can't be read."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(str(ipaddress.ip_address(words[1].partition("%")[0])))
            except ValueError:
                continue
    return tuple(found)
