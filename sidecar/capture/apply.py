"""Writes the rules with the node's tools: nft, or iptables and ip6tables. Raises, so that the pod does not start without.

The kernel is asked afterwards whether the rules are there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bartizan.errors import ProcessFailed
from bartizan.telemetry.logging import get_logger
from sidecar.capture.iptables import Tables, iptables_tables
from sidecar.capture.nftables import TABLE, nft_script
from sidecar.capture.plan import Plan

SECONDS: Final = 20
IPV6: Final = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")

log = get_logger()


def apply_plan(plan: Plan, tool: str = "auto") -> str:
    """Returns the tool that was used. tool: auto, nft or iptables. Raises ProcessFailed."""
    reasons = []
    if tool in {"auto", "nft"}:
        try:
            _nft(plan)
        except ProcessFailed as error:
            reasons.append(f"nft: {error}")
        else:
            return "nft"
    if tool in {"auto", "iptables"}:
        try:
            _iptables(plan)
        except ProcessFailed as error:
            reasons.append(f"iptables: {error}")
        else:
            return "iptables"
    raise ProcessFailed(
        "the redirect rules can't be written: "
        + "; ".join(reasons)
        + " (the container needs NET_ADMIN and the kernel nf_tables or ip_tables with nat; else use capture port)"
    )


def _nft(plan: Plan) -> None:
    nft = _found("nft")
    _run([nft, "-f", "-"], nft_script(plan))
    shown = _run([nft, "list", "table", "inet", TABLE])
    if f"redirect to :{plan.to_port}" not in shown:
        raise ProcessFailed("the rules are not there although nft said so")


def _iptables(plan: Plan) -> None:
    versions = [(4, "iptables"), *([(6, "ip6tables")] if _has_ipv6() else [])]
    for version, name in versions:
        tables = iptables_tables(plan, version)
        _run([_found(f"{name}-restore"), "--noflush", "--wait", "5"], tables.restore)
        _jump(_found(name), tables)


def _jump(program: str, tables: Tables) -> None:
    for table, chain, target in tables.jumps:
        there = [program, "--wait", "5", "-t", table, "-C", chain, "-j", target]
        if _code(there) != 0:
            # before whatever else is there
            _run([program, "--wait", "5", "-t", table, "-I", chain, "1", "-j", target])
            _run(there)


def _has_ipv6() -> bool:
    try:
        return IPV6.read_text().strip() == "0"
    except OSError:
        return False


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise ProcessFailed(f"{program} is not in this image")
    return path


def _code(command: Sequence[str]) -> int:
    return subprocess.run(
        command, capture_output=True, timeout=SECONDS, check=False, env=_environment()
    ).returncode


def _run(command: Sequence[str], given: str | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProcessFailed(f"{command[0]}: {type(error).__name__}") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:300]
        raise ProcessFailed(f"{Path(command[0]).name} ended with {done.returncode}: {said}")
    return done.stdout


def _environment() -> dict[str, str]:
    """The root of the container is read-only: the lock of legacy iptables goes where writing is possible."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "XTABLES_LOCKFILE": "/dev/null"}
