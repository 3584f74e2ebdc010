"""`bartizan mesh …`: look at MeshPolicies, compare, undo, delete. `bartizan policy apply` applies them."""

from __future__ import annotations

import click

from bartizan.cli import names
from bartizan.cli.clock import moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.documents import show_applied, show_difference, show_document, show_revisions


@click.group()
def mesh() -> None:
    """MeshPolicies: defaults and overrides for many endpoints."""


@mesh.command("list")
@pass_connection
def list_(connection: Connection) -> None:
    """All MeshPolicies."""
    listing = connection.call(lambda client: client.meshes())
    connection.output.rows(
        ("mesh policy", "newest revision", "in effect", "version", "endpoints", "kept in", "created", "by"),
        [
            (
                m.name,
                m.revision,
                m.published_revision or "-",
                m.version or "-",
                len(m.endpoints),
                m.origin,
                moment(m.created_at),
                m.created_by,
            )
            for m in listing
        ],
        data=listing,
    )


@mesh.command()
@names.MESH
@pass_connection
def get(connection: Connection, name: str) -> None:
    """Print a MeshPolicy's newest document."""
    document = connection.call(lambda client: client.mesh(name)).document
    show_document(connection.output, document)


@mesh.command()
@names.MESH
@pass_connection
def status(connection: Connection, name: str) -> None:
    """Which endpoints it touches, and which of them have proven it."""
    found = connection.call(lambda client: client.mesh_status(name))
    connection.output.rows(
        ("mesh policy", "endpoint", "state", "version"),
        [
            (found.name, "", f"enforced {found.summary}", found.version),
            *(("", one.name, f"enforced {one.enforced_count}/{one.total}", one.version) for one in found.endpoints),
        ],
        data=found,
    )  # fmt: skip


@mesh.command()
@names.MESH
@pass_connection
def history(connection: Connection, name: str) -> None:
    """All revisions, newest first."""
    revisions = connection.call(lambda client: client.mesh_revisions(name))
    show_revisions(connection.output, revisions)


@mesh.command()
@names.MESH
@click.argument("from_revision", type=int)
@click.argument("to_revision", type=int, required=False)
@pass_connection
def diff(connection: Connection, name: str, from_revision: int, to_revision: int | None) -> None:
    """What changed between two revisions, and what is less protected afterwards at which endpoint. Without TO_REVISION: since then."""
    difference = connection.call(lambda client: client.mesh_diff(name, from_revision, to_revision))
    show_difference(connection.output, difference)


@mesh.command()
@names.MESH
@click.option("--to", "revision", type=int, help="Default: the one in effect before.")
@pass_connection
def undo(connection: Connection, name: str, revision: int | None) -> None:
    """Put an earlier revision in effect again, at every endpoint."""
    if revision is None:
        applied = connection.call(lambda client: client.mesh_undo(name))
    else:
        applied = connection.call(lambda client: client.mesh_rollout(name, revision))
    show_applied(connection.output, applied)


@mesh.command()
@names.MESH
@click.confirmation_option(prompt="Its endpoints then lose its defaults and overrides. Delete")
@pass_connection
def delete(connection: Connection, name: str) -> None:
    """Delete a MeshPolicy; refused while an endpoint is not complete without it."""
    connection.call(lambda client: client.delete_mesh(name))
    connection.output.text(f"{name} deleted", data={"deleted": name})
