"""The plan for iptables and ip6tables, where a node's kernel has no nftables: chains of our own, and jumps to them. Pure.

`restore` makes the chains whole; `jumps` are added only where they are missing, so that a second run changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.capture.plan import Plan, of_version

_MOST_PORTS = 15  # of one multiport match


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """restore: input of `iptables-restore --noflush`; jumps: table, chain and target."""

    restore: str
    jumps: tuple[tuple[str, str, str], ...]


def iptables_tables(plan: Plan, version: int) -> Tables:
    """version: 4 for iptables, 6 for ip6tables."""
    loopback = "127.0.0.0/8" if version == 4 else "::1/128"
    nat = [
        "*nat",
        ":BARTIZAN_IN - [0:0]",
        ":BARTIZAN_OWN - [0:0]",
        *_kept("BARTIZAN_IN", plan),
        f"-A BARTIZAN_IN -p tcp -j REDIRECT --to-ports {plan.to_port}",
        f"-A BARTIZAN_OWN -d {loopback} -j RETURN",
        *_kept("BARTIZAN_OWN", plan),
        f"-A BARTIZAN_OWN -p tcp -m addrtype --dst-type LOCAL -j REDIRECT --to-ports {plan.to_port}",
        *_way_out(plan, version),
        "COMMIT",
    ]
    rules = [
        "*filter",
        ":BARTIZAN_ELSE - [0:0]",
        ":BARTIZAN_OUT - [0:0]",
        "-A BARTIZAN_ELSE -i lo -j RETURN",
        "-A BARTIZAN_ELSE -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
        *_kept("BARTIZAN_ELSE", plan),
        "-A BARTIZAN_ELSE -p tcp -j DROP",
        *_outbound(plan, version),
        "COMMIT",
    ]
    jumps = [
        ("nat", "PREROUTING", "BARTIZAN_IN"),
        ("nat", "OUTPUT", "BARTIZAN_OWN"),
        ("filter", "INPUT", "BARTIZAN_ELSE"),
    ]
    if plan.egress_port and version == 4:
        jumps.append(("nat", "OUTPUT", "BARTIZAN_WAY_OUT"))
    if plan.egress != "open":
        jumps.append(("filter", "OUTPUT", "BARTIZAN_OUT"))
    return Tables(restore="\n".join([*nat, *rules]) + "\n", jumps=tuple(jumps))


def _kept(chain: str, plan: Plan) -> list[str]:
    ports = plan.open_ports
    parts = [ports[start : start + _MOST_PORTS] for start in range(0, len(ports), _MOST_PORTS)]
    return [f"-A {chain} -p tcp -m multiport --dports {','.join(map(str, part))} -j RETURN" for part in parts]


def _way_out(plan: Plan, version: int) -> list[str]:
    """IPv4 only: Envoy's way out listens there; IPv6 is refused, and programs then try IPv4."""
    if not plan.egress_port or version != 4:
        return []
    chain = "BARTIZAN_WAY_OUT"
    return [
        f":{chain} - [0:0]",
        f"-A {chain} -m owner --uid-owner {plan.sidecar_uid} -j RETURN",
        f"-A {chain} -m addrtype --dst-type LOCAL -j RETURN",
        *(
            f"-A {chain} -d {server} -p tcp --dport 53 -j RETURN"
            for server in of_version(plan.name_servers, 4)
        ),
        *(f"-A {chain} -d {network} -j RETURN" for network in of_version(plan.allowed, 4)),
        *(
            f"-A {chain} -d {network} -p tcp -j REDIRECT --to-ports {plan.egress_port}"
            for network in plan.blocked(4)
        ),
    ]


def _outbound(plan: Plan, version: int) -> list[str]:
    if plan.egress == "open":
        return []
    lines = [
        f"-A BARTIZAN_OUT -m owner --uid-owner {plan.sidecar_uid} -j RETURN",
        "-A BARTIZAN_OUT -o lo -j RETURN",
        f"-A BARTIZAN_OUT -d {'127.0.0.0/8' if version == 4 else '::1/128'} -j RETURN",
        "-A BARTIZAN_OUT -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
    ]
    for server in of_version(plan.name_servers, version):
        lines += [f"-A BARTIZAN_OUT -d {server} -p {each} --dport 53 -j RETURN" for each in ("udp", "tcp")]
    lines += [f"-A BARTIZAN_OUT -d {network} -j RETURN" for network in of_version(plan.allowed, version)]
    reject = "icmp-admin-prohibited" if version == 4 else "icmp6-adm-prohibited"
    if version == 6:
        lines += [
            f"-A BARTIZAN_OUT -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN"
            for kind in (133, 135, 136)
        ]
    return [
        *lines,
        *(
            f"-A BARTIZAN_OUT -d {network} -j REJECT --reject-with {reject}"
            for network in plan.blocked(version)
        ),
    ]
