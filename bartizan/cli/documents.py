"""How policies of both kinds are shown by `bartizan policy` and `bartizan mesh`: documents, revisions, differences, what was applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from bartizan.api import (
    Applied,
    Change,
    Difference,
    InstanceStatus,
    MeshStatus,
    PolicyStatus,
    Preview,
    ProblemItem,
    Revision,
)
from bartizan.cli.clock import moment
from bartizan.cli.output import Output, printable
from bartizan.cli.reasons import meaning


def as_yaml(document: dict[str, Any]) -> str:
    """Without a line break at its end."""
    from bartizan.policy.documents import dump_document

    return dump_document(document).rstrip()


def show_document(output: Output, document: dict[str, Any]) -> None:
    """YAML, or JSON, with fields in the order of the reference."""
    from bartizan.policy.order import in_order

    ordered = in_order(document)
    output.text(as_yaml(ordered), data=ordered)


def show_revisions(output: Output, revisions: Sequence[Revision]) -> None:
    """A row each."""
    output.rows(
        ("revision", "time", "author", "reason"),
        [(r.number, moment(r.created_at), r.author, r.reason) for r in revisions],
        data=revisions,
    )


def show_difference(output: Output, difference: Difference) -> None:
    """Every change with what it loosens; what it loosens at endpoints has rows of its own."""
    if not difference.changes and not output.json:
        click.echo("no difference", err=True)
        return
    said = {change.loosens for change in difference.changes}
    more = [loosened for loosened in difference.loosens if loosened not in said]
    show_changes(output, difference.changes, difference, more)


def show_preview(output: Output, preview: Preview) -> None:
    """What applying it would change; warnings go to standard error."""
    if output.json:
        output.data(preview)
        return
    if "/" not in preview.name:  # a MeshPolicy stands in no namespace
        click.echo(
            f"MeshPolicy {preview.name} and its endpoints are valid; to see what it changes store it with "
            f"--no-rollout and compare revisions (bartizan mesh history {preview.name}, bartizan mesh diff)"
        )
    elif not preview.from_revision:
        click.echo(f"{preview.name} is valid; nothing is published that it could be compared with")
    elif preview.uncomparable:
        click.echo(
            f"{preview.name} is valid; revision {preview.from_revision}, which is published, no longer is, so they can't be compared:"
        )
        for one in preview.uncomparable:
            click.echo(printable(f"  {one.document and one.document + ', '}{one.path}: {one.message}"))
    elif not preview.changes:
        click.echo(f"{preview.name} is valid and says what revision {preview.from_revision} does")
    else:
        click.echo(f"{preview.name} is valid and changes this of revision {preview.from_revision}:")
        show_changes(output, preview.changes, preview)
    show_warnings(output, preview.warnings)


def show_changes(output: Output, changes: Sequence[Change], data: object, more: Sequence[str] = ()) -> None:
    """A row for each with what it loosens; `more` that is loosened has rows of its own."""
    output.rows(
        ("path", "change", "before", "after", "loosens"),
        [
            *((c.path, c.kind, c.before, c.after, c.loosens) for c in changes),
            *(("", "", "", "", loosened) for loosened in more),
        ],
        data=data,
    )


def show_applied(output: Output, applied: Applied) -> None:
    """A sentence; warnings go to standard error."""
    output.text(sentence(applied), data=applied)
    show_warnings(output, applied.warnings)


def sentence(applied: Applied) -> str:
    """What is in effect now, and where."""
    said = f"{applied.name} revision {applied.revision}, version {applied.version}"
    if applied.endpoints:
        said += f", at {', '.join(applied.endpoints)}"
    return said if applied.changed else f"{said} (no new revision: the document was there already)"


def unproven(status: PolicyStatus | MeshStatus) -> Iterator[str]:
    """A line for each sidecar or endpoint that has not proven it, with the reason."""
    match status:
        case PolicyStatus(total=0):
            yield f"no sidecar that is connected carries the selector's labels (bartizan policy get {status.name})"
        case PolicyStatus():
            for one in status.instances:
                if one.state != "enforced":
                    words = meaning(one.reason)
                    yield f"{one.state} {one.instance_id[:12]}: {reason(one)}{f' ({words})' if words else ''}"
        case MeshStatus(total=0):
            yield "no published ModelPolicy fits the selector"
        case MeshStatus():
            for each in status.endpoints:
                if not each.enforced:
                    yield f"{each.name}: enforced {each.enforced_count}/{each.total} (bartizan status {each.name})"


def reason(instance: InstanceStatus) -> str:
    """Document path and reason."""
    return f"{instance.path}: {instance.reason}" if instance.path else instance.reason


def show_warnings(output: Output, warnings: Sequence[ProblemItem]) -> None:
    """Where the answer is no JSON, which has them anyway."""
    if output.json:
        return
    for each in warnings:
        place = f"{each.document}, {each.path}" if each.document else each.path
        hint = f" ({each.hint})" if each.hint else ""
        click.echo(printable(f"warning: {place}: {each.message}{hint}"), err=True)
