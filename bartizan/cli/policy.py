"""`bartizan policy …`: apply, look, compare and undo through the control plane. policy_files.py needs none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bartizan.api import Applied, MeshStatus, PolicyStatus
from bartizan.cli import names
from bartizan.cli.bench import bench
from bartizan.cli.clock import moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.documents import (
    as_yaml,
    sentence,
    show_applied,
    show_difference,
    show_document,
    show_preview,
    show_revisions,
    show_warnings,
    unproven,
)
from bartizan.cli.output import printable
from bartizan.cli.policy_files import POLICY_FILE, compile_, fields, lines_named, schema, validate
from bartizan.local.files import read_text

if TYPE_CHECKING:
    from bartizan.client import Client


@click.group()
def policy() -> None:
    """Policies: what holds at a model's endpoint."""


for command in (validate, compile_, fields, schema, bench):
    policy.add_command(command)


@policy.command()
@names.POLICY
@click.option("--revision", type=int, help="Default: the published one.")
@pass_connection
def effective(connection: Connection, name: str, revision: int | None) -> None:
    """Print what holds at an endpoint with its MeshPolicies, and where each value was written."""
    from bartizan.policy.order import in_order

    found = connection.call(lambda client: client.effective(name, revision))
    lines = [as_yaml(in_order(found.document))]
    if found.meshes:
        inherited = [one for one in found.origins if one.kind != "policy"]
        lines += [
            "",
            *(f"# {one.path}: {one.kind} of {one.document}, {one.written_at}" for one in inherited),
        ]
    connection.output.text("\n".join(lines), data=found)


@policy.command()
@POLICY_FILE
@click.option("--reason", default="", help="Kept with the revision.")
@click.option("--no-rollout", is_flag=True, help="Store the revision, publish nothing.")
@click.option("--dry-run", is_flag=True, help="Store nothing: show what it would change, and loosen.")
@click.option("--wait", "seconds", type=int, metavar="SECONDS", help="Wait until it is proven enforced.")
@pass_connection
def apply(
    connection: Connection, file: Path, reason: str, no_rollout: bool, dry_run: bool, seconds: int | None
) -> None:
    """Validate a document of either kind, store it as a revision and roll out.

    At a stack of `bartizan up` the policy that it runs is completed by what `up` was told: where it listens, the
    certificate, the model's port.
    """
    from bartizan.local.told import as_told

    text = given = read_text(file, "the policy")
    if running := connection.laptop():
        text, filled = as_told(text, running)
        if filled:
            click.echo(f"as `bartizan up` was told: {', '.join(filled)}", err=True)
    if dry_run:
        with lines_named(given, file):
            show_preview(connection.output, connection.call(lambda client: client.validate(text)))
        return
    with lines_named(given, file):
        applied = connection.call(lambda client: client.apply(text, rollout=not no_rollout, reason=reason))
    if seconds is None or no_rollout:
        show_applied(connection.output, applied)
        return
    show_warnings(connection.output, applied.warnings)
    enforced, summary, status = connection.call(lambda client: _proof(client, applied, seconds))
    connection.output.text(f"{sentence(applied)}: enforced {summary}", data=status)
    if not enforced and not connection.output.json:
        for line in unproven(status):
            click.echo(printable(line), err=True)
    raise SystemExit(0 if enforced else 1)


async def _proof(
    client: Client, applied: Applied, seconds: int
) -> tuple[bool, str, PolicyStatus | MeshStatus]:
    status: PolicyStatus | MeshStatus
    if "/" in applied.name:
        status = await client.wait_enforced(applied.name, applied.version, timeout_seconds=seconds)
    else:  # a MeshPolicy stands in no namespace
        status = await client.mesh_status(applied.name, applied.version, wait_seconds=seconds)
    return status.enforced, status.summary, status


@policy.command("list")
@pass_connection
def list_(connection: Connection) -> None:
    """All policies."""
    listing = connection.call(lambda client: client.policies())
    connection.output.rows(
        ("policy", "newest revision", "published", "version", "kept in", "created", "by"),
        [
            (
                p.name,
                p.revision,
                p.published_revision or "-",
                p.version or "-",
                p.origin,
                moment(p.created_at),
                p.created_by,
            )
            for p in listing
        ],
        data=listing,
    )


@policy.command()
@names.POLICY
@click.option("--revision", type=int, help="Default: the newest.")
@pass_connection
def get(connection: Connection, name: str, revision: int | None) -> None:
    """Print a policy's document. NAME is namespace/name."""
    if revision is None:
        document = connection.call(lambda client: client.policy(name)).document
    else:
        document = connection.call(lambda client: client.revision(name, revision)).document
    show_document(connection.output, document)


@policy.command()
@names.POLICY
@pass_connection
def history(connection: Connection, name: str) -> None:
    """All revisions of a policy, newest first."""
    revisions = connection.call(lambda client: client.revisions(name))
    show_revisions(connection.output, revisions)


@policy.command()
@names.POLICY
@click.argument("from_revision", type=int)
@click.argument("to_revision", type=int, required=False)
@pass_connection
def diff(connection: Connection, name: str, from_revision: int, to_revision: int | None) -> None:
    """What changed between two revisions, and what is less protected afterwards. Without TO_REVISION: since then."""
    difference = connection.call(lambda client: client.diff(name, from_revision, to_revision))
    show_difference(connection.output, difference)


@policy.command()
@names.POLICY
@click.option("--to", "revision", type=int, help="Default: the one published before.")
@pass_connection
def undo(connection: Connection, name: str, revision: int | None) -> None:
    """Publish an earlier revision again, under a new version."""
    if revision is None:
        applied = connection.call(lambda client: client.undo(name))
    else:
        applied = connection.call(lambda client: client.rollout(name, revision))
    show_applied(connection.output, applied)


@policy.command()
@names.POLICY
@click.confirmation_option(prompt="Sidecars then refuse all requests. Delete")
@pass_connection
def delete(connection: Connection, name: str) -> None:
    """Delete a policy; its sidecars then refuse everything."""
    connection.call(lambda client: client.delete_policy(name))
    connection.output.text(f"{name} deleted", data={"deleted": name})
