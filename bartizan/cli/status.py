"""`bartizan status`: what is proven, for each policy and sidecar."""

from __future__ import annotations

import click

from bartizan.api import PolicyStatus
from bartizan.cli.clock import moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.documents import reason
from bartizan.client import Client


@click.command()
@click.argument("name", required=False)
@pass_connection
def status(connection: Connection, name: str | None) -> None:
    """Which policies are enforced where. Enforced means proven by a probe; a reason is given for each that is not."""

    async def fetch(client: Client) -> list[PolicyStatus]:
        names = [name] if name else [summary.name for summary in await client.policies()]
        return [await client.status(each) for each in names]

    found = connection.call(fetch)
    rows = []
    for each in found:
        rows.append((each.name, f"enforced {each.summary}", "", each.version, each.revision, "", ""))
        for row in each.instances:
            seen = moment(row.last_seen)
            rows.append(("", row.state, row.instance_id[:12], row.version, row.revision, seen, reason(row)))
    connection.output.rows(
        ("policy", "state", "instance", "version", "revision", "last seen", "reason"), rows, data=found
    )
