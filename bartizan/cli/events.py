"""`bartizan events`: what admins and the control plane itself did. Events hold names and numbers, never values."""

from __future__ import annotations

import click

from bartizan.api import AdminEventInfo
from bartizan.cli.clock import LAST, SINCE, UNTIL, beginning, moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.client import Client

_PAGE = 1_000


@click.command()
@LAST
@SINCE
@UNTIL
@click.option("--act", help="Only this act, such as policy.apply or key.revoke; docs/telemetry.md lists all.")
@click.option("--target", help="Only what was done to this policy, key set, instance …")
@click.option("--token", help="Only what was done with the admin token of this id.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@pass_connection
def events(
    connection: Connection,
    last: int | None,
    since: float | None,
    until: float | None,
    act: str | None,
    target: str | None,
    token: str | None,
    limit: int,
) -> None:
    """Search admin events, newest first: who did what to what."""
    start = beginning(last, since)

    async def fetch(client: Client) -> list[AdminEventInfo]:
        found: list[AdminEventInfo] = []
        cursor = ""
        while len(found) < limit:
            page = await client.events_page(
                since=start,
                until=until,
                act=act,
                target=target,
                token=token,
                limit=min(limit - len(found), _PAGE),
                cursor=cursor,
            )
            found += page.events
            cursor = page.cursor
            if not cursor:
                break
        return found

    found = connection.call(fetch)
    connection.output.rows(
        ("time", "who", "act", "target", "detail", "from"),
        [
            (
                moment(each.time),
                each.actor,
                each.act,
                each.target,
                " ".join(f"{name}={value}" for name, value in each.detail.items()),
                each.peer,
            )
            for each in found
        ],
        data=found,
    )
