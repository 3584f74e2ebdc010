"""MeshPolicies: what history.py has for both kinds, and at how many endpoints they are proven."""

from __future__ import annotations

import msgspec

from bartizan.api import MeshDetail, MeshList, MeshStatus, MeshSummary
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation, Reply
from control_plane.api.ports import Parts
from control_plane.api.routes.history import HistoryRoutes
from control_plane.api.routes.policies import MAX_WAIT, StatusQuery, wait_for
from control_plane.fleet.status import mesh_status
from control_plane.policies.meshes import MeshState
from control_plane.policies.revisions import plain

ALL = "/v1/mesh-policies"


def operations(parts: Parts) -> list[Operation]:
    meshes = parts.policies.meshes
    routes = HistoryRoutes(
        meshes,
        lambda call: call.path["name"],
        path=ALL + "/{name}",
        tag="mesh-policies",
        write=Permission.WRITE_MESH,
        changing={"other_statuses": (409, 422), "timeout": 300.0},
    )

    async def listed(_call: Call) -> MeshList:
        return MeshList(policies=tuple(_summary(state) for state in await meshes.states()))

    async def one(call: Call) -> Reply:
        state = await meshes.state(call.path["name"])
        newest = await meshes.revision(state.row.name, state.row.revision)
        fields = msgspec.structs.asdict(_summary(state))
        detail = MeshDetail(**fields, document=plain(newest.document))
        return Reply(value=detail, headers={"ETag": f'"{newest.number}"'})

    async def status(call: Call) -> MeshStatus:
        async def read() -> MeshStatus:
            state = _summary(await meshes.state(call.path["name"]))
            return mesh_status(
                parts.ledger,
                state.name,
                revision=state.published_revision,
                version=state.version,
                endpoints=state.endpoints,
            )

        return await wait_for(read, call.query, parts.ledger)

    return [
        routes.read("", "All MeshPolicies", listed, MeshList, path=ALL),
        routes.read("", "A MeshPolicy with its newest document", one, MeshDetail),
        *routes.operations(deleted="its endpoints are as without it"),
        routes.read("/status", "Which endpoints it touches, and which have proven it", status, MeshStatus, query=StatusQuery, timeout=MAX_WAIT + 10),
    ]  # fmt: skip


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
