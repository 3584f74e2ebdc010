"""`bartizan secrets …`: upstream credentials and their rotation. Values never pass through here."""

from __future__ import annotations

from pathlib import Path

import click

from bartizan.api import RotationInfo
from bartizan.cli.clock import moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.local.files import read_yaml


@click.group()
def secrets() -> None:
    """Upstream credentials and their rotation."""


@secrets.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_connection
def put(connection: Connection, name: str, file: Path) -> None:
    """Define a secret: where it is kept and who makes it (YAML). Never holds a value; its path stays what it is.

    \b
    Example: bartizan secrets put upstream upstream.yaml, where upstream.yaml says
      class: provider
      path: model/upstream
      provider: {kind: http, socket: /run/model/keys.sock, key_header: x-model-key}
    """  # noqa: D301
    definition = read_yaml(file, "the definition")
    made = connection.call(lambda client: client.put_secret(name, definition))
    connection.output.text(f"secret {name} defined", data=made)


@secrets.command("list")
@pass_connection
def list_(connection: Connection) -> None:
    """All secrets; never a value.

    \b
    Example: bartizan secrets list
    """  # noqa: D301
    listing = connection.call(lambda client: client.secrets())
    connection.output.rows(
        ("secret", "class", "updated", "by"),
        [(s.name, s.definition.get("class", ""), moment(s.updated_at), s.created_by) for s in listing],
        data=listing,
    )


@secrets.command()
@click.argument("name")
@click.option("--wait", "seconds", type=int, metavar="SECONDS", help="Wait until the old one is retired.")
@pass_connection
def rotate(connection: Connection, name: str, seconds: int | None) -> None:
    """Start a rotation: make a new key, prove it everywhere, then revoke the old one.

    \b
    Example: bartizan secrets rotate upstream --wait 300
    """  # noqa: D301
    info = connection.call(lambda client: client.rotate(name))
    _show(connection, name, info, seconds)


@secrets.command()
@click.argument("name")
@click.option("--wait", "seconds", type=int, metavar="SECONDS", help="Wait until the new key is discarded.")
@pass_connection
def rollback(connection: Connection, name: str, seconds: int | None) -> None:
    """Go back to the old key while a rotation is under way; possible until the old key is being revoked.

    \b
    Example: bartizan secrets rollback upstream --wait 120
    """  # noqa: D301
    info = connection.call(lambda client: client.roll_back(name))
    _show(connection, name, info, seconds)


@secrets.command()
@click.argument("name")
@pass_connection
def rotation(connection: Connection, name: str) -> None:
    """Where a rotation stands, what it waits for, and what went wrong.

    \b
    Example: bartizan secrets rotation upstream
    """  # noqa: D301
    info = connection.call(lambda client: client.rotation(name))
    waiting = ", ".join(info.waiting_for) or "-"
    connection.output.rows(
        ("secret", "phase", "from", "to", "waiting for", "error"),
        [(info.secret, info.phase, info.from_generation, info.to_generation, waiting, info.error)],
        data=info,
    )


def _show(connection: Connection, name: str, info: RotationInfo, seconds: int | None) -> None:
    """What has begun, or with `seconds` what came of it by then; exit code 1 when it has not ended."""
    if seconds is not None:
        info = connection.call(lambda client: client.wait_rotated(name, timeout_seconds=seconds))
    connection.output.text(f"{name}: {'done, ' if info.finished else ''}phase {info.phase}", data=info)
    raise SystemExit(0 if seconds is None or info.finished else 1)
