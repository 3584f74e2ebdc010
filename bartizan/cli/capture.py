"""`bartizan capture`: the init container of capture `redirect`; writes the pod's redirect rules and ends."""

from __future__ import annotations

from pathlib import Path

import click

from bartizan.cli.connection import Connection, pass_connection


@click.command(hidden=True)
@click.option("--to-port", type=int, required=True, help="Envoy's listener.")
@click.option("--sidecar-uid", type=int, required=True, help="User of the sidecar's processes.")
@click.option("--exclude-inbound", default="15020", help="Comma list of ports that stay as they are.")
@click.option("--egress", default="open", help="open, public (no internal addresses) or none.")
@click.option("--allow-egress", default="", help="Comma list of networks that stay open.")
@click.option("--egress-port", type=int, default=0, help="Envoy's way out for what is blocked; 0: none.")
@click.option("--resolv-conf", type=click.Path(path_type=Path), default=Path("/etc/resolv.conf"))
@click.option("--tool", type=click.Choice(["auto", "nft", "iptables"]), default="auto")
@click.option("--print", "show", is_flag=True, help="Print the nftables script instead of applying it.")
@pass_connection
def capture(
    connection: Connection,
    to_port: int,
    sidecar_uid: int,
    exclude_inbound: str,
    egress: str,
    allow_egress: str,
    egress_port: int,
    resolv_conf: Path,
    tool: str,
    show: bool,
) -> None:
    """Lead every inbound TCP connection of this network namespace to a port. Needs NET_ADMIN."""
    from sidecar.capture.apply import apply_plan
    from sidecar.capture.nftables import nft_script
    from sidecar.capture.plan import make_plan
    from sidecar.capture.resolver import name_servers

    plan = make_plan(
        to_port=to_port,
        sidecar_uid=sidecar_uid,
        excluded=exclude_inbound,
        egress=egress,
        allowed=allow_egress,
        name_servers=name_servers(resolv_conf),
        egress_port=egress_port,
    )
    if show:
        click.echo(nft_script(plan), nl=False)
        return
    used = apply_plan(plan, tool)
    connection.output.text(f"captured by {used}", data={"tool": used})
