"""MeshPolicies: look back, roll out, undo, delete, and at how many endpoints they are proven."""

from __future__ import annotations

from typing import Any

import msgspec

from bartizan.api import (
    Applied,
    Difference,
    MeshDetail,
    MeshList,
    MeshStatus,
    MeshSummary,
    Revision,
    RevisionDetail,
    RevisionList,
    RollOut,
)
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Handler, Operation, Reply
from control_plane.api.ports import Parts
from control_plane.api.routes.policies import (
    MAX_WAIT,
    DiffQuery,
    StatusQuery,
    revision_fields,
    revision_number,
    wait_for,
)
from control_plane.fleet.status import mesh_status
from control_plane.policies.meshes import MeshPolicies, MeshState
from control_plane.policies.revisions import plain

ONE = "/v1/mesh-policies/{name}"


def operations(parts: Parts) -> list[Operation]:
    routes = _Routes(parts)
    read, write = Permission.READ, Permission.WRITE_MESH

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
            method=method, path=path, summary=summary, handler=handler, permission=permission, answer=answer,
            tag="mesh-policies", **more,
        )  # fmt: skip

    changing: dict[str, Any] = {"other_statuses": (409, 422), "timeout": 300.0}
    return [
        make("GET", "/v1/mesh-policies", "All MeshPolicies", routes.all, read, MeshList),
        make("GET", ONE, "A MeshPolicy with its newest document", routes.one, read, MeshDetail),
        make("DELETE", ONE, "Delete: its endpoints are as without it", routes.delete, write, None, status=204, **changing),
        make("GET", ONE + "/revisions", "All revisions, newest first", routes.revisions, read, RevisionList),
        make("GET", ONE + "/revisions/{number}", "One revision", routes.revision, read, RevisionDetail),
        make("GET", ONE + "/diff", "What changed, and what does it loosen at which endpoint?", routes.diff, read, Difference, query=DiffQuery),
        make("POST", ONE + "/rollouts", "Put a stored revision in effect", routes.roll_out, write, Applied, request=RollOut, **changing),
        make("POST", ONE + "/undo", "Put in effect again what was before", routes.undo, write, Applied, **changing),
        make("GET", ONE + "/status", "Which endpoints it touches, and which have proven it", routes.status, read, MeshStatus, query=StatusQuery, timeout=MAX_WAIT + 10),
    ]  # fmt: skip


class _Routes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def _meshes(self) -> MeshPolicies:
        return self._parts.policies.meshes

    async def all(self, _call: Call) -> MeshList:
        return MeshList(policies=tuple(_summary(state) for state in await self._meshes.states()))

    async def one(self, call: Call) -> Reply:
        state = await self._meshes.state(call.path["name"])
        newest = await self._meshes.revision(state.row.name, state.row.revision)
        fields = msgspec.structs.asdict(_summary(state))
        detail = MeshDetail(**fields, document=plain(newest.document))
        return Reply(value=detail, headers={"ETag": f'"{newest.number}"'})

    async def delete(self, call: Call) -> None:
        await self._meshes.delete(call.path["name"], call.actor)

    async def revisions(self, call: Call) -> RevisionList:
        rows = await self._meshes.revisions(call.path["name"])
        return RevisionList(revisions=tuple(Revision(**revision_fields(row)) for row in rows))

    async def revision(self, call: Call) -> RevisionDetail:
        row = await self._meshes.revision(call.path["name"], revision_number(call))
        return RevisionDetail(**revision_fields(row), document=plain(row.document))

    async def diff(self, call: Call) -> Difference:
        name = call.path["name"]
        after = call.query.after or (await self._meshes.state(name)).row.revision
        changes, loosens = await self._meshes.diff(name, call.query.before, after)
        return Difference(
            from_revision=call.query.before, to_revision=after, changes=changes, loosens=loosens
        )

    async def roll_out(self, call: Call) -> Applied:
        return await self._meshes.roll_out(call.path["name"], call.body.revision, call.actor)

    async def undo(self, call: Call) -> Applied:
        return await self._meshes.undo(call.path["name"], call.actor)

    async def status(self, call: Call) -> MeshStatus:
        async def read() -> MeshStatus:
            state = _summary(await self._meshes.state(call.path["name"]))
            return mesh_status(
                self._parts.ledger,
                state.name,
                revision=state.published_revision,
                version=state.version,
                endpoints=state.endpoints,
            )

        return await wait_for(read, call.query, self._parts.ledger)


def _summary(state: MeshState) -> MeshSummary:
    return MeshSummary(
        name=state.row.name,
        revision=state.row.revision,
        published_revision=state.publication.revision if state.publication else 0,
        version=state.publication.version if state.publication else 0,
        endpoints=state.endpoints,
        created_at=state.row.created_at,
        created_by=state.row.created_by,
        origin=state.row.origin,
    )
