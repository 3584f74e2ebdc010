"""`bartizan audit`: decisions as evidence. Records hold causes and kinds, never text; status "-": the answer was not seen."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import click

from bartizan.cli.causes import CAUSES
from bartizan.cli.clock import LAST, SINCE, UNTIL, beginning, moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.client import Client

_PAGE = 1_000


@click.command()
@LAST
@SINCE
@UNTIL
@click.option("--tenant", help="Only of this tenant.")
@click.option("--key", "key_id", help="Only of this API key, by its id: `bartizan keys list SET`.")
@click.option("--policy", help="Only of this policy: NAMESPACE/NAME.")
@click.option("--cause", help="Such as content_denied or rate_limited; docs/telemetry.md lists all.")
@click.option("--action", type=click.Choice(["allow", "flag", "redact", "cut", "deny"]))
@click.option("--trace", "trace_id", help="A trace id from Jaeger.")
@click.option("--decision", "decision_id", help="The x-bartizan-decision header of an answer.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@pass_connection
def audit(
    connection: Connection,
    last: int | None,
    since: float | None,
    until: float | None,
    tenant: str | None,
    key_id: str | None,
    policy: str | None,
    cause: str | None,
    action: str | None,
    trace_id: str | None,
    decision_id: str | None,
    limit: int,
) -> None:
    """Search decisions, newest first. `bartizan explain DECISION` says all of one."""
    wanted: dict[str, str | float | None] = {
        "since": beginning(last, since),
        "until": until,
        "tenant": tenant,
        "key_id": key_id,
        "policy": policy,
        "cause": cause,
        "action": action,
        "trace_id": trace_id,
        "decision_id": decision_id,
    }

    async def fetch(client: Client) -> list[dict[str, Any]]:
        return [record async for record in records(client, wanted, limit)]

    found = connection.call(fetch)
    if cause and not found and cause not in CAUSES:  # a newer sidecar may know more of them than this command
        alike = difflib.get_close_matches(cause, CAUSES, n=1)
        hint = f" (did you mean {alike[0]}?)" if alike else ""
        click.echo(f"warning: {cause} is no cause that this command knows{hint}", err=True)
    connection.output.rows(
        ("time", "decision", "tenant", "action", "cause", "status", "findings", "policy"),
        [row(record) for record in found],
        data=found,
        whole=2,
    )


async def records(
    client: Client, wanted: Mapping[str, str | float | None], limit: int | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Decisions and gaps page by page, newest first, at most `limit`."""
    cursor, left = "", limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        page = await client.audit_page(**wanted, limit=size, cursor=cursor)
        for record in page.records:
            yield record
        cursor, left = page.cursor, left if left is None else left - len(page.records)
        if not cursor:
            return


def row(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """One decision or gap as the table shows it."""
    return (
        moment(record.get("time")),
        record.get("id", ""),
        record.get("tenant", ""),
        record.get("action", record.get("type", "")),
        record.get("cause", record.get("reason", "")),
        record.get("status") or "-",
        ", ".join(map(_finding, record.get("findings", []))),
        record.get("policy", ""),
    )


def _finding(finding: Mapping[str, Any]) -> str:
    """`request pii:email`: of which body, by which check, of what kind."""
    return f"{finding.get('direction', '')} {finding['check']}:{finding['kind']}".lstrip()
