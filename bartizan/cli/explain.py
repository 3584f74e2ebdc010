"""`bartizan explain`: one decision for people. Its records, what they mean, the rule that asked for it, and who published that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from bartizan.api import EffectivePolicy, Publication, Revision
from bartizan.cli.causes import CAUSES, Cause
from bartizan.cli.clock import moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.client import Client
from bartizan.errors import InvalidInput, NotFound

_LISTS = {"request": "input", "response": "output"}
_INDENT = 12
_IN_BODIES = "bartizan_"
"""Before the id in error bodies of some protocols."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The policy that a record was made under, as far as it is still kept. rules: by path in its document."""

    published: Publication | None = None
    revision: Revision | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    inherited: Sequence[str] = ()
    """Of the rules, those that a MeshPolicy wrote, with its name."""


@click.command()
@click.argument("decision")
@pass_connection
def explain(connection: Connection, decision: str) -> None:
    """Say what was decided on a request, why, by which rule of which revision, and what may be done.

    DECISION is the x-bartizan-decision header of an answer, or the code or request id in its error body, or a trace id.
    """
    decision = decision.removeprefix(_IN_BODIES)

    async def fetch(client: Client) -> list[tuple[dict[str, Any], Origin]]:
        records = await client.audit(decision_id=decision) or await client.audit(trace_id=decision[:32])
        return [(record, await _origin(client, record)) for record in reversed(records)]

    found = connection.call(fetch)
    if not found:
        raise NotFound(
            f"no record of {decision}: sidecars hand in records within seconds, old ones are deleted "
            "(BARTIZAN_CP_AUDIT_DAYS), and a token that is limited to tenants sees no others"
        )
    connection.output.text(
        "\n\n".join("\n".join(_lines(record, origin)) for record, origin in found),
        data=[_data(record, origin) for record, origin in found],
    )


async def _origin(client: Client, record: Mapping[str, Any]) -> Origin:
    policy = record.get("policy", "")
    revision, _, version = record.get("revision", "").partition(".")
    if not policy or not revision.isdigit() or not version.isdigit():
        return Origin()
    try:
        published = await client.publication(policy, int(version))
        written = await client.revision(policy, int(revision))
        effective = await client.effective(policy, int(revision))
    except (NotFound, InvalidInput):  # deleted since, or no longer valid with the MeshPolicies of now
        return Origin()
    asked = rules(record, effective)
    return Origin(
        published=published,
        revision=Revision(
            number=written.number,
            author=written.author,
            reason=written.reason,
            created_at=written.created_at,
            digest=written.digest,
        ),
        rules=asked,
        inherited=[
            f"{one.path}: {one.kind} of {one.document}, {one.written_at}, as it is now"
            for one in effective.origins
            if one.kind != "policy" and one.path.startswith(tuple(asked))
        ],
    )


def rules(record: Mapping[str, Any], effective: EffectivePolicy) -> dict[str, Any]:
    """Path and value of what asked for a decision: the checks of its findings, else the field of its cause."""
    spec = effective.document.get("spec", {})
    asked: dict[str, Any] = {}
    for finding in record.get("findings", ()):
        part = _LISTS.get(finding.get("direction", ""), "")
        for index, check in enumerate(spec.get(part) or ()):
            if finding["check"] in check:
                asked[f"spec.{part}[{index}]"] = check
    name = "" if asked else _cause(record).field
    value = spec
    for step in name.split(".") if name else ():
        value = value.get(step, {})
    named = [rule for rule in value if rule.get("name") == record.get("detail")] if name == "authz" else value
    return asked or ({f"spec.{name}": named} if name and named else {})


def _cause(record: Mapping[str, Any]) -> Cause:
    return CAUSES.get(record.get("cause", ""), Cause(""))


def _data(record: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    cause = _cause(record)
    return {
        "record": record,
        "why": cause.why,
        "mend": cause.mend,
        "rules": origin.rules,
        "inherited": origin.inherited,
        "published": origin.published,
        "revision": origin.revision,
    }


def _lines(record: Mapping[str, Any], origin: Origin) -> Iterator[str]:
    yield f"{record.get('id', '')}"
    for name, said in _said(record, origin):
        first, *more = said.splitlines() or [""]
        yield f"  {name}".ljust(_INDENT) + first
        yield from (" " * _INDENT + line for line in more)


def _said(record: Mapping[str, Any], origin: Origin) -> Iterator[tuple[str, str]]:
    """What is known, in the order in which it is asked."""
    yield "when", moment(record.get("time"))
    if record.get("type") == "gap":
        since, lost = moment(record.get("since")), record.get("lost") or "nobody knows how many"
        yield "lost", f"{lost} records since {since}: {record.get('reason')}"
        return
    yield "who", _who(record)
    asked = " ".join(filter(None, (record.get("method"), record.get("path") or "(path not recorded)")))
    yield "asked", f"{asked}, of {record.get('policy') or 'no policy'}"
    yield "decided", _decided(record)
    cause = _cause(record)
    yield "why", ": ".join(filter(None, (cause.why, record.get("detail"))))
    if findings := record.get("findings"):
        yield "found", "\n".join(map(_finding, findings))
    if origin.rules:
        yield "rule", "\n".join(f"{path}: {_short(value)}" for path, value in origin.rules.items())
    if origin.inherited:
        yield "from", "\n".join(origin.inherited)
    if origin.published is not None and origin.revision is not None:
        yield "in force", _published(origin.published, origin.revision)
    if read := _read(record):
        yield "read", read
    by = "Envoy" if record.get("source") == "envoy" else "the guard"
    yield "by", f"{by} of sidecar {record.get('instance_id', '')}, phase {record.get('phase', '')}"
    yield "trace", record.get("trace_id", "")
    if cause.mend:
        yield "to do", cause.mend


def _who(record: Mapping[str, Any]) -> str:
    known = [
        f"{name} {record[key]}" for name, key in (("tenant", "tenant"), ("key", "key_id")) if record.get(key)
    ]
    return (
        f"{', '.join(known) or 'nobody known'}, from {record.get('source_address') or 'an unknown address'}"
    )


def _decided(record: Mapping[str, Any]) -> str:
    status = (
        f"the client got {record['status']}" if record.get("status") else "let pass, the answer was not seen"
    )
    shadow = "; in shadow mode, so nothing was blocked" if record.get("shadow") else ""
    return f"{record.get('action')}, {record.get('cause')}; {status}{shadow}"


def _finding(finding: Mapping[str, Any]) -> str:
    place = " ".join(part for part in (finding.get("direction", ""), finding.get("location", "")) if part)
    return f"{finding['check']} {finding['kind']}{f' in {place}' if place else ''}: {finding['action']}"


def _short(value: Any) -> str:
    """In one line, as YAML has it."""
    import yaml

    dumped: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return dumped.removesuffix("\n").removesuffix("\n...")


def _published(published: Publication, revision: Revision) -> str:
    reason = f": {revision.reason}" if revision.reason else ""
    return (
        f"version {published.version}, published {moment(published.published_at)} by {published.published_by}\n"
        f"revision {revision.number}, written {moment(revision.created_at)} by {revision.author}{reason}"
    )


def _read(record: Mapping[str, Any]) -> str:
    parts: Sequence[str] = [
        f"{record.get(f'{body}_scanned', 0)} of {record[f'{body}_bytes']} bytes of the {name}"
        for body, name in (("request", "request"), ("response", "answer"))
        if record.get(f"{body}_bytes")
    ]
    unread = record.get("unscanned_reason")
    return ", ".join(parts) + (f"; {unread}" if unread else "")
