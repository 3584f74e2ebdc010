"""Calls of the typed client (client.py) that are about MeshPolicies."""

from __future__ import annotations

from typing import Final

from bartizan import api
from bartizan.transport import Transport, word

LONG_SECONDS: Final = 310.0
"""A change of a MeshPolicy is compiled and signed for each of its endpoints."""


class MeshCalls(Transport):
    """Beside `apply` and `validate` of Client, which take both kinds."""

    async def meshes(self) -> tuple[api.MeshSummary, ...]:
        return (await self.send("GET", "/v1/mesh-policies", api.MeshList)).policies

    async def mesh(self, name: str) -> api.MeshDetail:
        return await self.send("GET", f"/v1/mesh-policies/{word(name)}", api.MeshDetail)

    async def mesh_revisions(self, name: str) -> tuple[api.Revision, ...]:
        """All, newest first."""
        path = f"/v1/mesh-policies/{word(name)}/revisions"
        return await self.send_all(path, api.RevisionList, lambda page: page.revisions)

    async def mesh_diff(self, name: str, before: int, after: int | None = None) -> api.Difference:
        query = {"from": str(before), **({} if after is None else {"to": str(after)})}
        return await self.send("GET", f"/v1/mesh-policies/{word(name)}/diff", api.Difference, query=query)

    async def mesh_rollout(self, name: str, revision: int) -> api.Applied:
        ask = api.RollOut(revision=revision)
        return await self.send(
            "POST", f"/v1/mesh-policies/{word(name)}/rollouts", api.Applied, body=ask, seconds=LONG_SECONDS
        )

    async def mesh_undo(self, name: str) -> api.Applied:
        return await self.send(
            "POST", f"/v1/mesh-policies/{word(name)}/undo", api.Applied, seconds=LONG_SECONDS
        )

    async def delete_mesh(self, name: str) -> None:
        """Raises PolicyInvalid when an endpoint can't be without it."""
        await self.send("DELETE", f"/v1/mesh-policies/{word(name)}", None, seconds=LONG_SECONDS)

    async def mesh_status(self, name: str, version: int = 0, *, wait_seconds: float = 0.0) -> api.MeshStatus:
        """wait_seconds: until all its endpoints provably enforce that version, or the time is over."""
        path = f"/v1/mesh-policies/{word(name)}/status"
        if not wait_seconds:
            return await self.send("GET", path, api.MeshStatus)
        return await self.wait(path, api.MeshStatus, version, wait_seconds)
