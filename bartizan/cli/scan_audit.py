"""`bartizan scan --audit QUERY`: what the audit of the control plane says of findings, summed up like a scan.

Records hold kinds and places, never text: groups are of equal kinds instead of similar words, and scores,
places in a text and rules are null.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bartizan.cli.audit import records
from bartizan.cli.clock import DURATION
from bartizan.cli.connection import Connection
from bartizan.cli.reports import Sink, write_summary
from bartizan.client import Client
from bartizan.errors import InvalidInput
from sidecar.model.finding import Action
from sidecar.scan.judge import Hit, Verdict
from sidecar.scan.summary import Summary

CONDITIONS = ("last", "tenant", "policy", "cause", "action", "trace_id", "decision_id")


def conditions(query: str) -> dict[str, str | float | None]:
    """`tenant=acme,last=7d` as conditions of the audit. Raises InvalidInput for what it does not know."""
    out: dict[str, str | float | None] = {}
    for part in filter(None, (part.strip() for part in query.split(","))):
        name, is_, value = part.partition("=")
        if not is_ or not value or name not in CONDITIONS:
            raise InvalidInput(f"{part}: wanted name=value with a name of {', '.join(CONDITIONS)}")
        if name == "last":
            out["since"] = time.time() - DURATION.convert(value, None, None)
        else:
            out[name] = value
    return out


def scan_audit(connection: Connection, query: str, style: str, reports: tuple[Path, ...]) -> None:
    """Page through the records, newest first."""
    wanted = conditions(query)
    summary = Summary(scored=False)

    async def run(client: Client) -> None:
        index = 0
        with Sink(style, reports) as sink:
            async for record in records(client, wanted):
                if record.get("type", "decision") == "gap":
                    continue
                verdict, source = verdict_of(record)
                summary.add(index, verdict, source, " ".join(sorted({hit.kind for hit in verdict.hits})))
                sink.verdict(index, source, verdict)
                index += 1

    connection.call(run)
    write_summary(
        connection.output,
        style,
        reports,
        summary.data(),
        title="Scan of the audit",
        policy="what decided then",
    )


def verdict_of(record: dict[str, Any]) -> tuple[Verdict, str]:
    """A decision's record as a scan's verdict, and whose request it was."""
    hits = tuple(
        Hit(
            detector=found["check"],
            kind=found["kind"],
            action=Action[found["action"].upper()],
            location=found.get("location", ""),
        )
        for found in record.get("findings", ())
    )
    source = "/".join(filter(None, (record.get("tenant", ""), record.get("key_id", ""))))
    action = Action[str(record.get("action", "allow")).upper()]
    return Verdict(action=action, score=None, hits=hits), source
