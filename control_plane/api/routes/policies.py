"""ModelPolicies: what history.py has for both kinds, what holds with MeshPolicies, and the proven status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from bartizan import tasks
from bartizan.api import (
    EffectivePolicy,
    FieldOrigin,
    MeshStatus,
    PolicyDetail,
    PolicyList,
    PolicyStatus,
    PolicySummary,
    Publication,
    PublicationList,
)
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation, Reply
from control_plane.api.ports import Parts
from control_plane.api.routes.history import HistoryRoutes, PageQuery, number_in
from control_plane.fleet.bell import Pace
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.status import policy_status
from control_plane.policies.revisions import plain
from control_plane.policies.service import PolicyState
from control_plane.store.base import PublicationHead

ALL = "/v1/policies"
MAX_WAIT = 300.0
_Status = TypeVar("_Status", PolicyStatus, MeshStatus)


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace: Annotated[str, Meta(max_length=63)] = ""


class EffectiveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """revision: default is the published one, else the newest."""

    revision: Annotated[int, Meta(ge=1)] | None = None


class StatusQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """wait=enforced: answer when all instances enforce; wait=settled: when none is pending; or after timeout seconds."""

    wait: Literal["", "enforced", "settled"] = ""
    version: Annotated[int, Meta(ge=0)] = 0
    timeout: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 30.0


class PolicyStatusQuery(StatusQuery, frozen=True, forbid_unknown_fields=True):
    """As above; limit and cursor: which instances are shown."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    cursor: Annotated[str, Meta(max_length=256)] = ""


def operations(parts: Parts) -> list[Operation]:
    policies = parts.policies
    routes = HistoryRoutes(
        policies,
        _name,
        path=ALL + "/{namespace}/{name}",
        tag="policies",
        write=Permission.ROLL_OUT,
        changing={"other_statuses": (409, 422)},
    )

    async def listed(call: Call) -> PolicyList:
        states = await policies.states(call.query.namespace)
        return PolicyList(policies=tuple(_summary(state) for state in states))

    async def one(call: Call) -> Reply:
        state = await policies.state(_name(call))
        newest = await policies.revision(state.row.name, state.row.revision)
        summary = msgspec.structs.asdict(_summary(state))
        detail = PolicyDetail(**summary, document=plain(newest.document))
        return Reply(value=detail, headers={"ETag": f'"{newest.number}"'})

    async def publications(call: Call) -> PublicationList:
        page: PageQuery = call.query
        rows = await policies.publications(_name(call), limit=page.limit, before=page.before)
        return PublicationList(
            cursor=page.next([row.version for row in rows]),
            publications=tuple(map(_publication, rows)),
        )

    async def publication(call: Call) -> Publication:
        version = number_in(call, "version", "publication")
        return _publication(await policies.publication(_name(call), version))

    async def effective(call: Call) -> EffectivePolicy:
        made = await policies.effective(_name(call), call.query.revision)
        return EffectivePolicy(
            name=made.policy.qualified_name,
            document=made.document,
            meshes=tuple(mesh.policy.name for mesh in made.meshes),
            origins=tuple(
                FieldOrigin(path=path, kind=one.kind, document=one.document, written_at=one.path)
                for path, one in made.origins().items()
            ),
        )

    async def status(call: Call) -> PolicyStatus:
        async def read() -> PolicyStatus:
            name = _name(call)
            # What is published the ledger knows: the store may be writing the very report that is waited for.
            if parts.ledger.wanted(name) is None:
                await policies.state(name)
            return policy_status(parts.ledger, name, after=call.query.cursor, limit=call.query.limit)

        def worth() -> bool:
            name = _name(call)
            gone = parts.ledger.wanted(name) is None  # reading says so
            return call.query.wait != "enforced" or gone or parts.ledger.proven(name)

        return await wait_for(read, call.query, parts.ledger, worth)

    holding = "What holds with the MeshPolicies of now, and where each value was written"
    return [
        routes.read("", "All policies", listed, PolicyList, path=ALL, query=ListQuery),
        routes.read("", "A policy with its newest document", one, PolicyDetail),
        *routes.operations(deleted="its sidecars then deny everything"),
        routes.read("/publications", "What was published when", publications, PublicationList, query=PageQuery),
        routes.read("/publications/{version}", "One publication", publication, Publication),
        routes.read("/effective", holding, effective, EffectivePolicy, query=EffectiveQuery, other_statuses=(422,)),
        routes.read("/status", "What is proven, instance by instance", status, PolicyStatus, query=PolicyStatusQuery, timeout=MAX_WAIT + 10),
    ]  # fmt: skip


async def wait_for(
    read: Callable[[], Awaitable[_Status]],
    query: StatusQuery,
    ledger: Ledger,
    worth: Callable[[], bool] = lambda: True,
) -> _Status:
    """With wait: the newest status when the time is over, whatever it says; the caller looks.

    worth: whether reading again may show what is waited for; of a large fleet that is much the cheaper question.
    """
    deadline = asyncio.get_running_loop().time() + (query.timeout if query.wait else 0.0)
    pace, status = Pace(), None
    while True:
        # The mark comes first: what changes while the status is read ends the wait at once.
        seen, over = ledger.generation, asyncio.get_running_loop().time() >= deadline
        with pace.look():
            if status is None or over or worth():
                status = await read()
        if not query.wait or over or _reached(status, query):
            return status
        # Only the waiting is cut short: a query to the store that is cancelled costs its connection.
        with contextlib.suppress(TimeoutError):
            async with tasks.timeout_at(deadline):
                await ledger.changed(seen)
                await pace.rest()


def _reached(status: PolicyStatus | MeshStatus, query: StatusQuery) -> bool:
    if status.version < query.version:
        return False
    return status.settled if query.wait == "settled" else status.enforced


def _name(call: Call) -> str:
    return f"{call.path['namespace']}/{call.path['name']}"


def _publication(head: PublicationHead) -> Publication:
    names = ("version", "revision", "published_at", "published_by", "plan_hash")
    return Publication(**{name: getattr(head, name) for name in names})


def _summary(state: PolicyState) -> PolicySummary:
    return PolicySummary(
        name=state.row.name,
        revision=state.row.revision,
        published_revision=state.publication.revision if state.publication else 0,
        version=state.publication.version if state.publication else 0,
        created_at=state.row.created_at,
        created_by=state.row.created_by,
        origin=state.row.origin,
    )
