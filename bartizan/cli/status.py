"""`bartizan status`: what is proven, for each policy and sidecar."""

from __future__ import annotations

import click

from bartizan.api import PolicyStatus
from bartizan.cli import names
from bartizan.cli.clock import moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.documents import reason
from bartizan.cli.output import printable
from bartizan.cli.reasons import meaning
from bartizan.client import Client


@click.command()
@names.POLICY_OR_ALL
@click.option(
    "--unproven", is_flag=True, help="Only what is not enforced everywhere; ends with 1 if any is not."
)
@pass_connection
def status(connection: Connection, name: str | None, unproven: bool) -> None:
    """Which policies are enforced where. Enforced means proven by a probe; a reason is given for each that is not."""

    async def fetch(client: Client) -> list[tuple[int, PolicyStatus]]:
        stored = [await client.policy(name)] if name else await client.policies()
        return [(each.version, await client.status(each.name)) for each in stored]

    # Published is what the store says: of a publication that the control plane can't read its ledger knows nothing.
    known = connection.call(fetch)
    published = [(version, each) for version, each in known if version]
    lacking = [each for version, each in (known if name else published) if not _proven(version, each)]
    shown = lacking if unproven else [each for _, each in known]
    rows = []
    for each in shown:
        rows.append((each.name, f"enforced {each.summary}", "", each.version, each.revision, "", ""))
        for row in each.instances:
            if unproven and row.state == "enforced":
                continue
            seen = moment(row.last_seen)
            rows.append(("", row.state, row.instance_id[:12], row.version, row.revision, seen, reason(row)))
    connection.output.rows(
        ("policy", "state", "instance", "version", "revision", "last seen", "reason"), rows, data=shown
    )
    if not connection.output.json:
        _say_more(published)
    raise SystemExit(1 if unproven and shown else 0)


def _proven(version: int, status: PolicyStatus) -> bool:
    return status.enforced and status.version >= version


def _say_more(published: list[tuple[int, PolicyStatus]]) -> None:
    """What reasons mean, and how it stands in one line, on standard error."""
    given = {row.reason: None for _, each in published for row in each.instances if row.state != "enforced"}
    for one in given:
        if words := meaning(one):
            click.echo(printable(f"{one}: {words}"), err=True)
    for version, each in published:
        if each.version < version:
            said = f"version {version} is published, and not offered to sidecars: see the control plane's log"
            click.echo(f"{each.name}: {said}", err=True)
        elif not each.total:
            click.echo(f"{each.name}: no sidecar that is connected carries its selector's labels", err=True)
    proven = sum(_proven(version, each) for version, each in published)
    click.echo(f"{proven} of {len(published)} published policies enforced", err=True)
