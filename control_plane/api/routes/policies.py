"""Policies: apply, validate, look back, roll out, undo, delete, and the proven status."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bartizan.api import (
    Applied,
    Difference,
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
    Validated,
)
from bartizan.errors import InvalidInput, NotFound, Problem
from bartizan.policy.schema import ModelPolicy
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Handler, Operation, Reply
from control_plane.api.ports import Parts
from control_plane.fleet.status import policy_status
from control_plane.policies.revisions import plain
from control_plane.policies.service import PolicyState
from control_plane.store.base import RevisionRow

ONE = "/v1/policies/{namespace}/{name}"
MAX_WAIT = 300.0


class ApplyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rollout=false stores the revision without publishing it."""

    rollout: bool = True
    reason: Annotated[str, Meta(max_length=1000)] = ""


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace: Annotated[str, Meta(max_length=63)] = ""


class DiffQuery(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"before": "from", "after": "to"}
):
    """Revision numbers; `to` defaults to the newest."""

    before: Annotated[int, Meta(ge=1)]
    after: Annotated[int, Meta(ge=1)] | None = None


class StatusQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """wait=enforced: answer when all instances enforce; wait=settled: when none is pending; or after timeout seconds."""

    wait: Literal["", "enforced", "settled"] = ""
    version: Annotated[int, Meta(ge=0)] = 0
    timeout: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 30.0


def operations(parts: Parts) -> list[Operation]:
    routes = _Routes(parts)
    read, write, roll = Permission.READ, Permission.WRITE_POLICIES, Permission.ROLL_OUT

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
        make(
            "POST",
            "/v1/policies",
            "Apply a document: a new revision, published unless rollout=false",
            routes.apply,
            write,
            Applied,
            request=ModelPolicy,
            document=True,
            query=ApplyQuery,
            other_statuses=(409, 412),
        ),
        make(
            "POST",
            "/v1/policies:validate",
            "Everything wrong with a document, without storing it",
            routes.validate,
            read,
            Validated,
            request=ModelPolicy,
            document=True,
        ),
        make("GET", "/v1/policies", "All policies", routes.all, read, PolicyList, query=ListQuery),
        make("GET", ONE, "A policy with its newest document", routes.one, read, PolicyDetail),
        make("DELETE", ONE, "Delete: its sidecars then deny everything", routes.delete, roll, None, status=204),
        make("GET", ONE + "/revisions", "All revisions, newest first", routes.revisions, read, RevisionList),
        make("GET", ONE + "/revisions/{number}", "One revision", routes.revision, read, RevisionDetail),
        make("GET", ONE + "/publications", "What was published when", routes.publications, read, PublicationList),
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

    async def apply(self, call: Call) -> Applied:
        return await self._policies.apply(
            call.body,
            call.actor,
            rollout=call.query.rollout,
            reason=call.query.reason,
            expected=_if_match(call.headers.get("If-Match")),
        )

    async def validate(self, call: Call) -> Validated:
        return Validated(name=(await self._policies.validate(call.body)).qualified_name)

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
        return RevisionList(revisions=tuple(Revision(**_revision(row)) for row in rows))

    async def revision(self, call: Call) -> RevisionDetail:
        number = call.path["number"]
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            raise NotFound(f"no revision {number[:20]!r}")
        row = await self._policies.revision(_name(call), int(number))
        return RevisionDetail(**_revision(row), document=plain(row.document))

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

    async def roll_out(self, call: Call) -> Applied:
        return await self._policies.roll_out(_name(call), call.body.revision, call.actor)

    async def undo(self, call: Call) -> Applied:
        return await self._policies.undo(_name(call), call.actor)

    async def status(self, call: Call) -> PolicyStatus:
        """With wait: the newest status when the time is over, whatever it says; the caller looks."""
        name, query = _name(call), call.query
        if not query.wait:
            return await self._status(name)
        deadline = asyncio.get_running_loop().time() + query.timeout
        while True:
            # The mark comes first: what changes while the status is read ends the wait at once.
            seen = self._parts.ledger.generation
            status = await self._status(name)
            if _reached(status, query) or asyncio.get_running_loop().time() >= deadline:
                return status
            # Only the waiting is cut short: a query to the store that is cancelled costs its connection.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._parts.ledger.changed(seen)

    async def _status(self, name: str) -> PolicyStatus:
        await self._policies.state(name)
        return policy_status(self._parts.ledger, name)


def _reached(status: PolicyStatus, query: StatusQuery) -> bool:
    if status.version < query.version:
        return False
    return status.settled if query.wait == "settled" else status.enforced


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


def _revision(row: RevisionRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "author": row.author,
        "reason": row.reason,
        "created_at": row.created_at,
        "digest": row.digest,
    }


def _if_match(header: str | None) -> int | None:
    if header is None:
        return None
    text = header.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        problem = Problem(path="If-Match", code="invalid_value", message='expected a revision number, as "3"')
        raise InvalidInput("the header If-Match is wrong", [problem])
    return int(text)
