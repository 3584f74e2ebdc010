"""`bartizan scan`: judge prompts of a file by a policy's checks, offline; or sum up the audit's findings.

Exit code 0 also when lines are hit or can't be read: those are results, and every one is in the output. After Ctrl-C
(130) or SIGTERM (143) output and reports say what was judged until then.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, get_args

import click
import msgspec

from bartizan.cli.connection import Connection, pass_connection
from bartizan.errors import InvalidInput
from bartizan.policy import defaults
from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.schema import Protocol

if TYPE_CHECKING:
    from sidecar.scan.summary import Summary

SELECTABLE = ("injection", "pii", "secrets", "sanitize")
BODIES = tuple(name for name in get_args(Protocol) if name not in {"json_fields", "opaque", "image"})
"""Protocols whose bodies are lines of JSON and say by themselves where their texts are."""


class Selection(click.ParamType[frozenset[str]]):
    """Detectors by name, between commas."""

    name = "detectors"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str]:
        if isinstance(value, frozenset):
            return value
        chosen = frozenset(part.strip() for part in str(value).split(",") if part.strip())
        if unknown := sorted(chosen - set(SELECTABLE)):
            self.fail(f"{', '.join(unknown)} unknown: choose from {', '.join(SELECTABLE)}", param, ctx)
        if not chosen:
            self.fail(f"choose from {', '.join(SELECTABLE)}", param, ctx)
        return chosen


SELECTION = Selection()


@click.command()
@click.argument("file", required=False, type=click.Path(allow_dash=True, path_type=str))
@click.option("--audit", "query", metavar="QUERY", help="Sum up decisions instead: tenant=acme,last=7d.")
@click.option("--select", type=SELECTION, help=f"Only these detectors: {','.join(SELECTABLE)}.")
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Default: every check of a request with its defaults.",
)
@click.option(
    "--protocol",
    type=click.Choice(BODIES),
    default="openai",
    show_default=True,
    help="Of lines that are request bodies.",
)
@click.option("--path", help="Which route of a json_fields policy lines are for. Default: its first.")
@click.option("--source-field", default="", help="Member of a line that says where it is from.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a report: .html, .json or .csv.",
)
@click.option("--excerpts", is_flag=True, help="Show the first words of an attack of each group in reports.")
@click.option(
    "--output",
    "style",
    type=click.Choice(["table", "json", "jsonl", "csv"]),
    help="jsonl: one line out per line in, in order.",
)
@pass_connection
def scan(
    connection: Connection,
    file: str | None,
    query: str | None,
    select: frozenset[str] | None,
    policy: Path | None,
    protocol: str,
    path: str | None,
    source_field: str,
    reports: tuple[Path, ...],
    excerpts: bool,
    style: str | None,
) -> None:
    """Judge prompts offline. FILE holds a JSON object a line, {"text": …} or a request's body; - is standard input."""
    style = style or ("json" if connection.output.json else "table")
    if (file is None) == (query is None):
        raise click.UsageError("give a file (or -), or --audit QUERY")
    if query is not None:
        from bartizan.cli.scan_audit import scan_audit

        scan_audit(connection, query, style, reports)
        return
    assert file is not None
    # the detectors' tables take time to build: only a scan waits for them
    from bartizan.cli.interruption import Interruption
    from bartizan.cli.reports import Sink, progress
    from sidecar.formats.catalog import build_format
    from sidecar.scan.judge import GROUPS, Judge
    from sidecar.scan.lines import Reader, lines
    from sidecar.scan.summary import Summary

    checks, plan, judged_by = judging(policy, protocol)
    chosen = frozenset(GROUPS[name] for name in select) if select is not None else None
    missing = (chosen or frozenset()) - {item.__struct_config__.tag for item in checks}
    if missing:
        raise InvalidInput(f"{judged_by} has no check {', '.join(sorted(map(str, missing)))}")
    judge = Judge(checks, chosen)
    routes = [route.path for route in plan.routes]
    if path and routes and path not in routes:
        raise InvalidInput(f"--path: {judged_by} has no route {path}, only {', '.join(routes)}")
    reader = Reader(build_format(plan), path or (routes[0] if routes else ""), source_field)
    summary = Summary(excerpts=excerpts)
    with Interruption() as interruption, ExitStack() as stack:
        sink = stack.enter_context(Sink(style, reports))
        stream, size = _opened(file, stack)
        read_lines = interruption.until(lines(stream))
        bar = progress(read_lines, size, lambda: summary.hits, lambda: bool(interruption.number))
        for index, line in enumerate(bar):
            read = reader.read(index, line)
            if read.fault:
                summary.fault(index)
                sink.fault(index, read.fault)
                continue
            if read.document is not None:
                parts = list(read.document.texts())
                verdict, text = judge.parts(parts), "\n".join(part.text for part in parts)
            else:
                text = read.text or ""
                verdict = judge.text(text)
            summary.add(index, verdict, read.source, text)
            sink.verdict(index, read.source, verdict)
        summary.complete = not interruption.number
        sink.flush()
        _finish(connection, file, style, reports, summary, judged_by)
    if not summary.complete:
        click.echo(f"stopped after {summary.lines} lines; what comes behind them was not judged", err=True)
        sys.exit(128 + interruption.number)


def _finish(
    connection: Connection,
    file: str,
    style: str,
    reports: tuple[Path, ...],
    summary: Summary,
    judged_by: str,
) -> None:
    """Reports, and the summary where no lines went."""
    from bartizan.cli.reports import write_summary

    title = "standard input" if file == "-" else Path(file).name
    write_summary(
        connection.output, style, reports, summary.data(), title=f"Scan of {title}", policy=judged_by
    )
    if summary.faults:
        click.echo(f"{summary.faults} of {summary.lines} lines could not be read", err=True)


def _opened(file: str, stack: ExitStack) -> tuple[BinaryIO, int]:
    """The input and its size in bytes, 0 if that is not known."""
    if file == "-":
        return sys.stdin.buffer, 0
    try:
        return stack.enter_context(Path(file).open("rb")), Path(file).stat().st_size
    except OSError as error:
        raise InvalidInput(f"{file} can't be read: {error.strerror}") from error


def judging(policy: Path | None, protocol: str) -> tuple[defaults.Checks, GuardPlan, str]:
    """Checks of requests, the plan that says how bodies are read, and what to call them."""
    if policy is None:
        plan = GuardPlan(
            id="0.0",
            policy="defaults",
            revision=0,
            model=GuardModel(name="scan", protocol=msgspec.convert(protocol, Protocol)),
            tenants=(),
            input=defaults.CHECKS,
        )
        return defaults.CHECKS, plan, "the checks' defaults"
    from bartizan.policy.validate import parse_policy
    from control_plane.compile.bundle import compile_bundle

    parsed = parse_policy(policy.read_bytes())
    plan = compile_bundle(parsed, revision=1, version=1, issued_at="1970-01-01T00:00:00Z").plan
    if not plan.input:
        raise InvalidInput(f"{policy}: the policy checks nothing in requests (spec.input)")
    return plan.input, plan, f"policy {parsed.qualified_name}"
