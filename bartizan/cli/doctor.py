"""`bartizan doctor`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from bartizan.cli.connection import Connection, pass_connection
from bartizan.local import doctor as examination
from bartizan.local.paths import state_folder


@click.command()
@click.option(
    "--state", type=click.Path(path_type=Path), help="State folder. Default: ~/.local/share/bartizan."
)
@pass_connection
def doctor(connection: Connection, state: Path | None) -> None:
    """Check the whole chain of a laptop or VM run, and say how to mend it. Exit code 1 when something is bad."""
    checks = asyncio.run(examination.examine((state or state_folder()).resolve()))
    connection.output.rows(
        ("check", "result", "found", "how to mend"),
        [(check.name, check.result, check.found, check.mend) for check in checks],
        data=checks,
    )
    sys.exit(1 if any(check.result == "bad" for check in checks) else 0)
