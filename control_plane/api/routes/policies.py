"""ModelPolicies: look back, roll out, undo, delete, and the proven status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from bartizan.api import (
    Applied,
    Difference,
    EffectivePolicy,
    FieldOrigin,
    MeshStatus,
    PolicyDetail,
    PolicyList,
    PolicyStatus,
    PolicySummary,
    Publication,
    PublicationList,
    Revision,
    RevisionDetail,
    RevisionList,
    RollOut,
)
from bartizan.errors import NotFound
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Handler, Operation, Reply
from control_plane.api.ports import Parts
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.status import policy_status
from control_plane.policies.revisions import plain
from control_plane.policies.service import PolicyState
from control_plane.store.base import RevisionRow

ONE = "/v1/policies/{namespace}/{name}"
MAX_WAIT = 300.0
_Status = TypeVar("_Status", PolicyStatus, MeshStatus)


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace: Annotated[str, Meta(max_length=63)] = ""


class DiffQuery(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"before": "from", "after": "to"}
):
    """Revision numbers; `to` defaults to the newest."""

    before: Annotated[int, Meta(ge=1)]
    after: Annotated[int, Meta(ge=1)] | None = None


class EffectiveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """revision: default is the published one, else the newest."""

    revision: Annotated[int, Meta(ge=1)] | None = None


class StatusQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """wait=enforced: answer when all instances enforce; wait=settled: when none is pending; or after timeout seconds."""

    wait: Literal["", "enforced", "settled"] = ""
    version: Annotated[int, Meta(ge=0)] = 0
    timeout: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 30.0


def operations(parts: Parts) -> list[Operation]:
    routes = _Routes(parts)
    read, roll = Permission.READ, Permission.ROLL_OUT

    def make(
        method: str,
        path: str,
        summary: str,
        handler: Handler,
        permission: Permission,
        answer: Any,
        **more: Any,
    ) -> Operation:
        return Operation(
            method=method,
            path=path,
            summary=summary,
            handler=handler,
            permission=permission,
            answer=answer,
            tag="policies",
            **more,
        )

    return [
        make("GET", "/v1/policies", "All policies", routes.all, read, PolicyList, query=ListQuery),
        make("GET", ONE, "A policy with its newest document", routes.one, read, PolicyDetail),
        make("DELETE", ONE, "Delete: its sidecars then deny everything", routes.delete, roll, None, status=204),
        make("GET", ONE + "/revisions", "All revisions, newest first", routes.revisions, read, RevisionList),
        make("GET", ONE + "/revisions/{number}", "One revision", routes.revision, read, RevisionDetail),
        make("GET", ONE + "/publications", "What was published when", routes.publications, read, PublicationList),
        make(
            "GET",
            ONE + "/effective",
            "What holds with the MeshPolicies of now, and where each value was written",
            routes.effective,
            read,
            EffectivePolicy,
            query=EffectiveQuery,
            other_statuses=(422,),
        ),
        make(
            "GET", ONE + "/diff", "What changed, and what does it loosen?", routes.diff, read, Difference, query=DiffQuery
        ),
        make(
            "POST",
            ONE + "/rollouts",
            "Publish a stored revision",
            routes.roll_out,
            roll,
            Applied,
            request=RollOut,
            other_statuses=(409,),
        ),
        make(
            "POST",
            ONE + "/undo",
            "Publish again what was published before",
            routes.undo,
            roll,
            Applied,
            other_statuses=(409, 422),
        ),
        make(
            "GET",
            ONE + "/status",
            "What is proven, instance by instance",
            routes.status,
            read,
            PolicyStatus,
            query=StatusQuery,
            timeout=MAX_WAIT + 10,
        ),
    ]  # fmt: skip


class _Routes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._policies = parts.policies

    async def all(self, call: Call) -> PolicyList:
        states = await self._policies.states(call.query.namespace)
        return PolicyList(policies=tuple(_summary(state) for state in states))

    async def one(self, call: Call) -> Reply:
        state = await self._policies.state(_name(call))
        newest = await self._policies.revision(state.row.name, state.row.revision)
        summary = msgspec.structs.asdict(_summary(state))
        detail = PolicyDetail(**summary, document=plain(newest.document))
        return Reply(value=detail, headers={"ETag": f'"{newest.number}"'})

    async def delete(self, call: Call) -> None:
        await self._policies.delete(_name(call), call.actor)

    async def revisions(self, call: Call) -> RevisionList:
        rows = await self._policies.revisions(_name(call))
        return RevisionList(revisions=tuple(Revision(**revision_fields(row)) for row in rows))

    async def revision(self, call: Call) -> RevisionDetail:
        row = await self._policies.revision(_name(call), revision_number(call))
        return RevisionDetail(**revision_fields(row), document=plain(row.document))

    async def publications(self, call: Call) -> PublicationList:
        rows = await self._policies.publications(_name(call))
        return PublicationList(
            publications=tuple(
                Publication(
                    version=row.version,
                    revision=row.revision,
                    published_at=row.published_at,
                    published_by=row.published_by,
                    plan_hash=row.plan_hash,
                )
                for row in rows
            )
        )

    async def diff(self, call: Call) -> Difference:
        name = _name(call)
        after = call.query.after or (await self._policies.state(name)).row.revision
        changes = await self._policies.diff(name, call.query.before, after)
        return Difference(
            from_revision=call.query.before,
            to_revision=after,
            changes=changes,
            loosens=tuple(change.loosens for change in changes if change.loosens),
        )

    async def effective(self, call: Call) -> EffectivePolicy:
        made = await self._policies.effective(_name(call), call.query.revision)
        return EffectivePolicy(
            name=made.policy.qualified_name,
            document=made.document,
            meshes=tuple(mesh.policy.name for mesh in made.meshes),
            origins=tuple(
                FieldOrigin(path=path, kind=one.kind, document=one.document, written_at=one.path)
                for path, one in made.origins().items()
            ),
        )

    async def roll_out(self, call: Call) -> Applied:
        return await self._policies.roll_out(_name(call), call.body.revision, call.actor)

    async def undo(self, call: Call) -> Applied:
        return await self._policies.undo(_name(call), call.actor)

    async def status(self, call: Call) -> PolicyStatus:
        return await wait_for(lambda: self._status(_name(call)), call.query, self._parts.ledger)

    async def _status(self, name: str) -> PolicyStatus:
        await self._policies.state(name)
        return policy_status(self._parts.ledger, name)


async def wait_for(read: Callable[[], Awaitable[_Status]], query: StatusQuery, ledger: Ledger) -> _Status:
    """With wait: the newest status when the time is over, whatever it says; the caller looks."""
    deadline = asyncio.get_running_loop().time() + (query.timeout if query.wait else 0.0)
    while True:
        # The mark comes first: what changes while the status is read ends the wait at once.
        seen = ledger.generation
        status = await read()
        if not query.wait or _reached(status, query) or asyncio.get_running_loop().time() >= deadline:
            return status
        # Only the waiting is cut short: a query to the store that is cancelled costs its connection.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await ledger.changed(seen)


def _reached(status: PolicyStatus | MeshStatus, query: StatusQuery) -> bool:
    if status.version < query.version:
        return False
    return status.settled if query.wait == "settled" else status.enforced


def revision_number(call: Call) -> int:
    """Raises NotFound for what is no number."""
    number = call.path["number"]
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise NotFound(f"no revision {number[:20]!r}")
    return int(number)


def _name(call: Call) -> str:
    return f"{call.path['namespace']}/{call.path['name']}"


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


def revision_fields(row: RevisionRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "author": row.author,
        "reason": row.reason,
        "created_at": row.created_at,
        "digest": row.digest,
    }
