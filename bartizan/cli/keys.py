"""`bartizan keys …`: API keys of callers. A key is shown once; the control plane keeps its hash."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from bartizan.api import IssuedKey
from bartizan.cli.clock import DURATION, moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.client import Client
from bartizan.local.private_file import private_file


@click.group()
def keys() -> None:
    """API keys of the callers of a model."""


@keys.command()
@click.argument("key_set")
@click.option("--tenant", required=True, help="Whose key it is; the policy's `tenants` must name it.")
@click.option("--plan", default="", help="What rules see as identity.plan.")
@click.option("--region", default="", help="What rules see as identity.region.")
@click.option("--model", "models", multiple=True, help="Only for these models; may be given several times.")
@click.option("--ttl", type=DURATION, help="90s, 15m, 12h, 30d. Default: no expiry.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the key to this file (0600), don't print it."
)
@pass_connection
def issue(
    connection: Connection,
    key_set: str,
    tenant: str,
    plan: str,
    region: str,
    models: tuple[str, ...],
    ttl: int | None,
    out: Path | None,
) -> None:
    """Issue a key into KEY_SET (made when it does not exist)."""

    async def work(client: Client) -> IssuedKey:
        await client.create_key_set(key_set)
        return await client.issue_key(
            key_set, tenant=tenant, plan=plan, region=region, models=models, ttl_seconds=ttl
        )

    # the file is made first: a key that can't be kept would be valid and lost
    with private_file(out) if out is not None else nullcontext() as file:
        issued = connection.call(work)
        if file is not None:
            file.write(issued.key)
    if out is None:
        connection.output.text(issued.key, data=issued)
        return
    connection.output.text(f"key {issued.id} written to {out}", data={"id": issued.id, "file": str(out)})


@keys.command("list")
@click.argument("key_set", required=False)
@pass_connection
def list_(connection: Connection, key_set: str | None) -> None:
    """All key sets, or the keys of one; never the keys themselves."""
    if key_set is None:
        sets = connection.call(lambda client: client.key_sets())
        connection.output.rows(
            ("set", "keys", "version"), [(s.name, s.keys, s.version) for s in sets], data=sets
        )
        return
    listing = connection.call(lambda client: client.keys(key_set))
    connection.output.rows(
        ("id", "tenant", "plan", "region", "models", "created", "expires", "revoked"),
        [
            (
                k.id,
                k.tenant,
                k.plan,
                k.region,
                " ".join(k.models),
                moment(k.created_at),
                moment(k.expires_at),
                k.revoked,
            )
            for k in listing.keys
        ],
        data=listing,
    )


@keys.command()
@click.argument("key_set")
@click.argument("key_id")
@click.option("--wait", "seconds", type=int, metavar="SECONDS", help="Wait until every sidecar refuses it.")
@pass_connection
def revoke(connection: Connection, key_set: str, key_id: str, seconds: int | None) -> None:
    """Revoke a key. Works while Vault is away. With --wait: ends with 1 when some sidecar may still accept it."""
    connection.call(lambda client: client.revoke_key(key_set, key_id))
    if seconds is None:
        connection.output.text(f"key {key_id} revoked", data={"revoked": key_id})
        return
    status = connection.call(lambda client: client.wait_key_set(key_set, timeout_seconds=seconds))
    proven = f"{status.total - len(status.behind)}/{status.total}"
    late = f"; may still accept it: {', '.join(status.behind)}" if status.behind else ""
    data = {"revoked": key_id, "total": status.total, "behind": status.behind}
    connection.output.text(f"key {key_id} revoked, refused by {proven} sidecars{late}", data=data)
    raise SystemExit(1 if status.behind else 0)
