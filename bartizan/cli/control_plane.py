"""`bartizan control-plane`: the control plane itself, configured by BARTIZAN_CP_* variables, and what is done on its host."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from bartizan.cli.clock import DURATION
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.shown_once import OUT, Shown, show_once


@click.group("control-plane", invoke_without_command=True)
@click.pass_context
def control_plane(context: click.Context) -> None:
    """Run the control plane. Settings: BARTIZAN_CP_* variables, see docs/operations.md."""
    if context.invoked_subcommand is not None:
        return
    from control_plane.__main__ import main

    main()


@control_plane.command("new-admin")
@click.argument("name")
@click.option("--ttl", type=DURATION, default="12h", show_default=True, help="At most 90d.")
@OUT
@pass_connection
def new_admin(connection: Connection, name: str, ttl: int, out: Path | None) -> None:
    """Make an admin token on the control plane's own host or in its pod, when nobody has one any more.

    It goes straight into the store that BARTIZAN_CP_STORE or BARTIZAN_CP_STATE_DIR names; the control plane may run.
    The event `token.recover` says who did it; NAME stands in the record of what the token does.
    """

    def make() -> Shown:
        from control_plane.recover import new_admin
        from control_plane.settings import read_store

        issued = asyncio.run(new_admin(read_store(os.environ), name=name, ttl_seconds=ttl))
        return Shown(
            name=f"admin token {issued.id}",
            about={"id": issued.id},
            secret=issued.token,
            data=issued,
            undo="make another one, then revoke this one with `bartizan tokens revoke " + issued.id + "`",
        )

    show_once(connection.output, out, make)
