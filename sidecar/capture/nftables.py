"""The plan as one nftables script: applied whole or not at all, and again without effect. Pure.

https://wiki.nftables.org/wiki-nftables/index.php/Performing_Network_Address_Translation_(NAT)
"""

from __future__ import annotations

from typing import Final

from sidecar.capture.plan import Plan, of_version

TABLE: Final = "bartizan"


def nft_script(plan: Plan) -> str:
    """For `nft -f -`. The first two lines make it replace what an earlier run left."""
    chains = [*_inbound(plan), *(_outbound(plan) if plan.egress != "open" else [])]
    body = "\n".join(f"  {line}" for line in chains)
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{body}\n}}\n"


def _inbound(plan: Plan) -> list[str]:
    others = f"tcp dport != {{ {', '.join(map(str, plan.open_ports))} }}"
    return [
        "chain inbound {",
        "  type nat hook prerouting priority dstnat; policy accept;",
        f"  {others} redirect to :{plan.to_port}",
        "}",
        # From within the pod to the pod's own address: not through prerouting, and not over loopback's addresses.
        "chain own_address {",
        "  type nat hook output priority -100; policy accept;",
        "  ip daddr 127.0.0.0/8 accept",
        "  ip6 daddr ::1 accept",
        f"  fib daddr type local {others} redirect to :{plan.to_port}",
        "}",
        # What was not redirected for whatever reason (an odd packet, a later rule) does not come in.
        "chain nothing_else {",
        "  type filter hook input priority filter; policy accept;",
        '  iifname "lo" accept',
        "  ct state established,related accept",
        f"  {others} drop",
        "}",
    ]


def _outbound(plan: Plan) -> list[str]:
    lines = [
        *(_way_out(plan) if plan.egress_port else []),
        "chain outbound {",
        "  type filter hook output priority filter; policy accept;",
        f"  meta skuid {plan.sidecar_uid} accept",
        '  oifname "lo" accept',
        # what was just led to loopback still shows the interface that it would have left by
        "  ip daddr 127.0.0.0/8 accept",
        "  ct state established,related accept",
    ]
    for version, family in ((4, "ip"), (6, "ip6")):
        if servers := of_version(plan.name_servers, version):
            lines.append(f"  {family} daddr {_set(servers)} meta l4proto {{ tcp, udp }} th dport 53 accept")
        if allowed := of_version(plan.allowed, version):
            lines.append(f"  {family} daddr {_set(allowed)} accept")
        if version == 6:
            # Without its neighbours IPv6 does not work at all.
            lines.append(
                "  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept"
            )
        lines.append(f"  {family} daddr {_set(plan.blocked(version))} reject with icmpx admin-prohibited")
    return [*lines, "}"]


def _way_out(plan: Plan) -> list[str]:
    """IPv4 only: Envoy's way out listens there; IPv6 is refused below, and programs then try IPv4."""
    lines = [
        "chain way_out {",
        "  type nat hook output priority -95; policy accept;",
        f"  meta skuid {plan.sidecar_uid} accept",
        "  fib daddr type local accept",
    ]
    if servers := of_version(plan.name_servers, 4):
        lines.append(f"  ip daddr {_set(servers)} tcp dport 53 accept")
    if allowed := of_version(plan.allowed, 4):
        lines.append(f"  ip daddr {_set(allowed)} accept")
    blocked = _set(plan.blocked(4))
    return [*lines, f"  ip daddr {blocked} meta l4proto tcp redirect to :{plan.egress_port}", "}"]


def _set(networks: tuple[str, ...]) -> str:
    return f"{{ {', '.join(networks)} }}"
