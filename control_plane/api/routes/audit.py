"""Evidence: the decisions of all sidecars, and what admins did. For auditors; a token may be limited to tenants."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bartizan.api import AdminEventInfo, AdminEventList, AuditList
from bartizan.errors import Forbidden
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts
from control_plane.api.routes.pages import cursor_of, place_of
from control_plane.policies.actor import Actor
from control_plane.store.base import AuditQuery, EventQuery

_LARGEST_ID = 2**31 - 1
"""Of an admin event: a cursor that nobody gave out must not be a fault of the database."""


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """since and until in seconds since the epoch; all given conditions must hold; cursor from the page before."""

    since: float | None = None
    until: float | None = None
    tenant: Annotated[str, Meta(max_length=128)] = ""
    policy: Annotated[str, Meta(max_length=160)] = ""
    cause: Annotated[str, Meta(max_length=64)] = ""
    action: Annotated[str, Meta(max_length=16)] = ""
    trace_id: Annotated[str, Meta(max_length=32)] = ""
    decision_id: Annotated[str, Meta(max_length=64)] = ""
    key_id: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, Meta(max_length=256)] = ""


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As above; token: the id of the admin token that acted."""

    since: float | None = None
    until: float | None = None
    act: Annotated[str, Meta(max_length=64)] = ""
    target: Annotated[str, Meta(max_length=256)] = ""
    token: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, Meta(pattern=r"^([0-9]{1,18})?$")] = ""


def operations(parts: Parts) -> list[Operation]:
    async def records(call: Call) -> AuditList:
        query: Query = call.query
        async with parts.store.begin() as work:
            rows = await work.audit.query(
                AuditQuery(
                    since=query.since,
                    until=query.until,
                    tenants=_tenants(call.actor, query.tenant),
                    policy=query.policy,
                    cause=query.cause,
                    action=query.action,
                    trace_id=query.trace_id,
                    decision_id=query.decision_id,
                    key_id=query.key_id,
                    limit=query.limit,
                    before=place_of(query.cursor),
                )
            )
        last = rows[-1] if len(rows) == query.limit else None
        return AuditList(
            records=tuple(msgspec.json.decode(row.json, type=dict[str, Any]) for row in rows),
            cursor=cursor_of((last.time, last.id) if last else None),
        )

    async def events(call: Call) -> AdminEventList:
        if call.actor.tenants:
            raise Forbidden("this token is limited to tenants; admin events belong to none")
        query: EventsQuery = call.query
        async with parts.store.begin() as work:
            found = await work.events.query(
                EventQuery(
                    since=query.since,
                    until=query.until,
                    act=query.act,
                    target=query.target,
                    token=query.token,
                    limit=query.limit,
                    before=min(int(query.cursor), _LARGEST_ID) if query.cursor else None,
                )
            )
        last = found[-1] if len(found) == query.limit else None
        return AdminEventList(
            cursor=str(last.id) if last else "",
            events=tuple(
                AdminEventInfo(
                    time=event.time,
                    actor=event.actor,
                    act=event.act,
                    target=event.target,
                    detail=dict(event.detail),
                    request_id=event.request_id,
                    peer=event.peer,
                )
                for event in found
            ),
        )

    return [
        Operation(
            method="GET",
            path="/v1/audit",
            summary="Decision records, newest first",
            handler=records,
            permission=Permission.READ_AUDIT,
            answer=AuditList,
            query=Query,
            tag="audit",
        ),
        Operation(
            method="GET",
            path="/v1/events",
            summary="What admins did, newest first",
            handler=events,
            permission=Permission.READ_AUDIT,
            answer=AdminEventList,
            query=EventsQuery,
            tag="audit",
        ),
    ]


def _tenants(actor: Actor, wanted: str) -> tuple[str, ...] | None:
    """None: all. A limited token sees nothing outside of its tenants, also no records without a tenant."""
    if wanted and actor.tenants and wanted not in actor.tenants:
        raise Forbidden("this token is limited to other tenants")
    if wanted:
        return (wanted,)
    return actor.tenants or None
