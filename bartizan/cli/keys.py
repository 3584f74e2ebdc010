"""`bartizan keys …`: API keys of callers. A key is shown once; the control plane keeps its hash."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from bartizan.api import IssuedKey
from bartizan.cli.clock import DURATION, moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.shown_once import OUT, Shown, show_once
from bartizan.client import Client
from bartizan.errors import NotFound


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
@click.option("--create", is_flag=True, help="Make KEY_SET although no published policy names it.")
@OUT
@pass_connection
def issue(
    connection: Connection,
    key_set: str,
    tenant: str,
    plan: str,
    region: str,
    models: tuple[str, ...],
    ttl: int | None,
    create: bool,
    out: Path | None,
) -> None:
    """Issue a key into KEY_SET. The first one makes the set, if a published policy names it."""

    async def work(client: Client) -> IssuedKey:
        await _prepare(client, key_set, create)
        return await client.issue_key(
            key_set, tenant=tenant, plan=plan, region=region, models=models, ttl_seconds=ttl
        )

    def make() -> Shown:
        issued = connection.call(work)
        undo = f"revoke it with `bartizan keys revoke {key_set} {issued.id}`"
        return Shown(
            name=f"key {issued.id}", about={"id": issued.id}, secret=issued.key, data=issued, undo=undo
        )

    show_once(connection.output, out, make)


async def _prepare(client: Client, key_set: str, create: bool) -> None:
    """Make the set where it is missing. One that no policy names would hold keys that nobody accepts: a slip, mostly."""
    made = {each.name for each in await client.key_sets()}
    if key_set in made:
        return
    named = {each.key_set for each in await client.endpoints()} - {""}
    if key_set not in named and not create:
        close = difflib.get_close_matches(key_set, sorted(made | named), n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise NotFound(
            f"no key set {key_set}, and no published policy names it ({meant}--create makes it all the same)"
        )
    await client.create_key_set(key_set)


@keys.command("list")
@click.argument("key_set", required=False)
@pass_connection
def list_(connection: Connection, key_set: str | None) -> None:
    """All key sets, or the keys of one; never the keys themselves."""
    if key_set is None:
        sets = connection.call(lambda client: client.key_sets())
        connection.output.rows(
            ("set", "keys", "version", "last change", "at", "by"),
            [(s.name, s.keys, s.version, s.cause, moment(s.changed_at), s.changed_by) for s in sets],
            data=sets,
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
