"""`bartizan policy …`: check, compile and explain offline; apply, compare and undo through the control plane."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from bartizan.cli.bench import bench
from bartizan.cli.clock import moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.policy.jsonschema import policy_json_schema
from bartizan.policy.validate import parse_policy

POLICY_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def policy() -> None:
    """Policies: what holds at a model's endpoint."""


policy.add_command(bench)


@policy.command()
@POLICY_FILE
@pass_connection
def validate(connection: Connection, file: Path) -> None:
    """Check a policy file; every error at once. Needs no control plane."""
    valid = parse_policy(file.read_bytes())
    connection.output.text(
        f"{valid.qualified_name} is valid", data={"name": valid.qualified_name, "valid": True}
    )


@policy.command("compile")
@POLICY_FILE
@click.option(
    "--explain", is_flag=True, help="Say which part is enforced where, and why, instead of the bundle."
)
@pass_connection
def compile_(connection: Connection, file: Path, explain: bool) -> None:
    """Show what sidecars would get for a policy file. Needs no control plane."""
    from control_plane.compile.bundle import compile_bundle
    from control_plane.compile.explain import explain as explain_policy

    parsed = parse_policy(file.read_bytes())
    if explain:
        lines = explain_policy(parsed)
        connection.output.text("\n".join(lines), data=lines)
        return
    connection.output.data(compile_bundle(parsed, revision=1, version=1, issued_at="1970-01-01T00:00:00Z"))


@policy.command()
@POLICY_FILE
@click.option("--reason", default="", help="Kept with the revision.")
@click.option("--no-rollout", is_flag=True, help="Store the revision, publish nothing.")
@click.option("--wait", "seconds", type=int, metavar="SECONDS", help="Wait until it is proven enforced.")
@pass_connection
def apply(connection: Connection, file: Path, reason: str, no_rollout: bool, seconds: int | None) -> None:
    """Validate, store as a revision and roll out."""
    text = file.read_text()
    applied = connection.call(lambda client: client.apply(text, rollout=not no_rollout, reason=reason))
    said = f"{applied.name} revision {applied.revision}, version {applied.version}"
    if seconds is None or no_rollout:
        connection.output.text(said if applied.changed else f"{said} (nothing changed)", data=applied)
        return
    status = connection.call(
        lambda client: client.wait_enforced(applied.name, applied.version, timeout_seconds=seconds)
    )
    connection.output.text(f"{said}: enforced {status.summary}", data=status)
    raise SystemExit(0 if status.enforced else 1)


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
@click.argument("name")
@click.option("--revision", type=int, help="Default: the newest.")
@pass_connection
def get(connection: Connection, name: str, revision: int | None) -> None:
    """Print a policy's document. NAME is namespace/name."""
    if revision is None:
        document = connection.call(lambda client: client.policy(name)).document
    else:
        document = connection.call(lambda client: client.revision(name, revision)).document
    connection.output.text(yaml.safe_dump(document, sort_keys=False).rstrip(), data=document)


@policy.command()
@click.argument("name")
@pass_connection
def history(connection: Connection, name: str) -> None:
    """All revisions of a policy, newest first."""
    revisions = connection.call(lambda client: client.revisions(name))
    connection.output.rows(
        ("revision", "time", "author", "reason"),
        [(r.number, moment(r.created_at), r.author, r.reason) for r in revisions],
        data=revisions,
    )


@policy.command()
@click.argument("name")
@click.argument("from_revision", type=int)
@click.argument("to_revision", type=int)
@pass_connection
def diff(connection: Connection, name: str, from_revision: int, to_revision: int) -> None:
    """What changed between two revisions, and what is less protected afterwards."""
    difference = connection.call(lambda client: client.diff(name, from_revision, to_revision))
    connection.output.rows(
        ("path", "change", "before", "after", "loosens"),
        [(c.path, c.kind, c.before, c.after, c.loosens) for c in difference.changes],
        data=difference,
    )


@policy.command()
@click.argument("name")
@click.option("--to", "revision", type=int, help="Default: the one published before.")
@pass_connection
def undo(connection: Connection, name: str, revision: int | None) -> None:
    """Publish an earlier revision again, under a new version."""
    if revision is None:
        applied = connection.call(lambda client: client.undo(name))
    else:
        applied = connection.call(lambda client: client.rollout(name, revision))
    connection.output.text(
        f"{applied.name} revision {applied.revision}, version {applied.version}", data=applied
    )


@policy.command()
@click.argument("name")
@click.confirmation_option(prompt="Sidecars then refuse all requests. Delete")
@pass_connection
def delete(connection: Connection, name: str) -> None:
    """Delete a policy; its sidecars then refuse everything."""
    connection.call(lambda client: client.delete_policy(name))
    connection.output.text(f"{name} deleted", data={"deleted": name})


@policy.command()
@pass_connection
def schema(connection: Connection) -> None:
    """The JSON Schema of policies, for editors."""
    connection.output.data(policy_json_schema())
