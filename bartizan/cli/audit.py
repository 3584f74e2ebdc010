"""`bartizan audit`: decisions as evidence. Records hold causes and kinds, never text; status "-": the answer was not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from bartizan.cli.clock import DURATION, moment
from bartizan.cli.connection import Connection, pass_connection


@click.command()
@click.option("--last", type=DURATION, help="Only the last 15m, 12h, 7d.")
@click.option("--tenant")
@click.option("--policy")
@click.option("--cause")
@click.option("--action", type=click.Choice(["allow", "flag", "redact", "cut", "deny"]))
@click.option("--trace", "trace_id", help="A trace id from Jaeger.")
@click.option("--decision", "decision_id", help="The x-bartizan-decision header of an answer.")
@click.option("--limit", default=50, show_default=True)
@pass_connection
def audit(
    connection: Connection,
    last: int | None,
    tenant: str | None,
    policy: str | None,
    cause: str | None,
    action: str | None,
    trace_id: str | None,
    decision_id: str | None,
    limit: int,
) -> None:
    """Search decisions, newest first."""
    conditions: dict[str, str | float | None] = {
        "since": time.time() - last if last else None,
        "tenant": tenant,
        "policy": policy,
        "cause": cause,
        "action": action,
        "trace_id": trace_id,
        "decision_id": decision_id,
        "limit": limit,
    }
    given = {name: value for name, value in conditions.items() if value is not None}
    records = connection.call(lambda client: client.audit(**given))
    connection.output.rows(
        ("time", "decision", "tenant", "action", "cause", "status", "findings", "trace"),
        [row(record) for record in records],
        data=records,
    )


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
        record.get("trace_id", ""),
    )


def _finding(finding: Mapping[str, Any]) -> str:
    """`request pii:email`: of which body, by which check, of what kind."""
    return f"{finding.get('direction', '')} {finding['check']}:{finding['kind']}".lstrip()
