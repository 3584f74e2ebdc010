"""`bartizan tokens …`: who may use the API, and in which role. A token is shown once; the control plane keeps its hash."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from bartizan.api import RoleName
from bartizan.cli.clock import DURATION, moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.shown_once import OUT, Shown, show_once


@click.group()
def tokens() -> None:
    """Admin tokens: who may use the API, and in which role."""


@tokens.command()
@click.argument("name")
@click.option("--role", type=click.Choice(get_args(RoleName)), required=True, help="What it may do.")
@click.option("--ttl", type=DURATION, default="12h", show_default=True, help="At most 90d.")
@click.option(
    "--tenant", "tenants", multiple=True, help="An auditor's only tenants; may be given several times."
)
@OUT
@pass_connection
def issue(
    connection: Connection, name: str, role: RoleName, ttl: int, tenants: tuple[str, ...], out: Path | None
) -> None:
    """Issue a token; NAME stands in the record of what it did. The first one by the bootstrap token, as admin.

    \b
    Example: bartizan tokens issue deploy --role author --ttl 30d --out deploy-token
    """  # noqa: D301

    def make() -> Shown:
        issued = connection.call(
            lambda client: client.create_token(role=role, name=name, ttl_seconds=ttl, tenants=tenants)
        )
        return Shown(
            name=f"token {issued.id}",
            about={"id": issued.id},
            secret=issued.token,
            data=issued,
            undo=f"revoke it with `bartizan tokens revoke {issued.id}`",
        )

    show_once(connection.output, out, make)


@tokens.command("list")
@pass_connection
def list_(connection: Connection) -> None:
    """All tokens, revoked ones too; never the tokens themselves."""
    found = connection.call(lambda client: client.tokens())
    connection.output.rows(
        ("id", "name", "role", "tenants", "created", "by", "expires", "used", "revoked"),
        [
            (
                each.id,
                each.name,
                each.role,
                " ".join(each.tenants),
                moment(each.created_at),
                each.created_by,
                moment(each.expires_at),
                moment(each.used_at),
                each.revoked,
            )
            for each in found
        ],
        data=found,
    )


@tokens.command()
@click.argument("token_id")
@pass_connection
def revoke(connection: Connection, token_id: str) -> None:
    """Revoke a token; `bartizan events --token ID` shows what it did."""
    connection.call(lambda client: client.revoke_token(token_id))
    connection.output.text(f"token {token_id} revoked", data={"revoked": token_id})
