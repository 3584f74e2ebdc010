"""What can be done with MeshPolicies: apply, delete, and what history.py has for both kinds.

Beside service.py. What a change does to endpoints, to all of them or to none, is in endpoints.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bartizan.api import Applied, Change, Preview
from bartizan.policy.effective import touching_meshes
from bartizan.policy.validate import Written
from control_plane.policies.actor import Actor
from control_plane.policies.diff import differences, mesh_differences
from control_plane.policies.endpoints import Endpoints, Plan
from control_plane.policies.history import Asked, History
from control_plane.policies.publishing import (
    PolicyChanged,
    Publishing,
    in_effect,
    mesh_of,
    written_of,
)
from control_plane.policies.revisions import document_of, plain
from control_plane.store.base import AdminEvent, MeshPublicationRow, PolicyRow, Store, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshState:
    """A MeshPolicy, what is in effect of it (None: nothing), and the endpoints that this touches."""

    row: PolicyRow
    publication: MeshPublicationRow | None
    endpoints: tuple[str, ...]


class MeshPolicies(History[MeshPublicationRow]):
    """The service of MeshPolicies; made by Policies, with whom it shares `publishing`."""

    def __init__(
        self, store: Store, publishing: Publishing, changed: PolicyChanged, clock: Callable[[], float]
    ) -> None:
        super().__init__(store, publishing, clock, kind="MeshPolicy", of=lambda work: work.meshes)
        self._endpoints = Endpoints(store, publishing, changed, clock)

    async def validate(self, written: Written) -> Preview:
        """Raises PolicyInvalid with every problem here and at each endpoint, PolicyConflict for ties."""
        mesh = await self._publishing.judge_mesh(written)
        # Without a turn: it changes nothing, and whoever may only read must not keep changes waiting.
        await self._endpoints.plan(mesh.policy.name, mesh)
        return Preview(name=mesh.policy.name, warnings=await self._endpoints.warnings(mesh))

    async def apply(
        self,
        text: bytes | Written,
        actor: Actor,
        *,
        rollout: bool = True,
        reason: str = "",
        expected: int | None = None,
    ) -> Applied:
        """A new revision unless the newest one is this very document; in effect at every endpoint when `rollout`.

        Raises as Policies.apply does, with the problems of every endpoint.
        """
        written = text if isinstance(text, Written) else await self._publishing.read(text)
        mesh = await self._publishing.judge_mesh(written)
        name = mesh.policy.name
        asked = Asked(
            name=name, document=document_of(mesh.document), actor=actor, reason=reason, expected=expected
        )
        async with self._publishing.turn():
            async with self._store.begin() as work:
                draft = await self._draft(work, asked)
            warnings = await self._endpoints.warnings(mesh)
            if (unchanged := draft.unchanged(rollout=rollout)) is not None:
                return replace(unchanged, warnings=warnings)
            plan = await self._endpoints.plan(name, mesh, actor if rollout else None)
            now, number = draft.revision.created_at, draft.revision.number
            version = draft.version if rollout else 0
            async with self._endpoints.carried_out(plan, name, actor) as work:
                if draft.changed:
                    await work.meshes.add_revision(draft.revision, origin=actor.origin)
                if rollout:
                    await work.meshes.publish(self._publication(name, version, number, actor))
                await work.events.record(_event(actor, now, "apply", name, plan, number, version))
        return Applied(
            name=name,
            revision=number,
            version=version,
            changed=draft.changed,
            endpoints=plan.endpoints,
            warnings=warnings,
        )

    async def delete(self, name: str, actor: Actor) -> None:
        """Its endpoints are as without it. Raises PolicyInvalid when one of them can't be: it needs its defaults."""
        async with self._publishing.turn():
            async with self._store.begin() as work:
                await self._changeable(work, name, actor)
            plan = await self._endpoints.plan(name, None, actor)
            now = self._clock()
            async with self._endpoints.carried_out(plan, name, actor) as work:
                await work.meshes.delete(name, at=now)
                await work.events.record(_event(actor, now, "delete", name, plan))

    async def state(self, name: str) -> MeshState:
        """Raises NotFound."""
        async with self._store.begin() as work:
            [state] = await self._states(work, [await self._alive(work, name)])
        return state

    async def states(self) -> Sequence[MeshState]:
        async with self._store.begin() as work:
            return await self._states(work, await work.meshes.all())

    async def _states(self, work: Work, rows: Sequence[PolicyRow]) -> Sequence[MeshState]:
        published = {row.policy: row for row in await work.meshes.published()}
        holding = {row.name: mesh_of(row.document) for row in await work.meshes.in_effect()}
        documents = {each.name: plain(each.document) for each in await work.policies.in_effect()}
        return [
            MeshState(
                row=row,
                publication=published.get(row.name),
                endpoints=tuple(
                    name
                    for name, document in documents.items()
                    if row.name in holding and touching_meshes(document, [holding[row.name]])
                ),
            )
            for row in rows
        ]

    async def diff(self, name: str, before: int, after: int) -> tuple[tuple[Change, ...], tuple[str, ...]]:
        """What changed in the document, and what that loosens at which endpoint. Raises NotFound, PolicyInvalid."""
        one, other = [mesh_of((await self.revision(name, number)).document) for number in (before, after)]
        async with self._store.begin() as work:
            rest = in_effect(await work.meshes.in_effect()).without(name)
            policies = await work.policies.in_effect()
        loosens = []
        for row in policies:
            written = written_of(row.document)
            if touching_meshes(written.document, [one, other]):
                old, new = [await self._publishing.judge(written, (*rest, mesh)) for mesh in (one, other)]
                changes = differences(old.policy, new.policy)
                loosens += [f"{row.name}: {change.loosens}" for change in changes if change.loosens]
        return mesh_differences(one.policy, other.policy), tuple(loosens)

    async def _put_in_effect(self, name: str, number: int, actor: Actor, act: str) -> Applied:
        async with self._store.begin() as work:
            known = await self._changeable(work, name, actor)
            stored = await self._stored(work, name, number)
        mesh = mesh_of(stored.document)
        warnings = await self._endpoints.warnings(mesh)
        plan = await self._endpoints.plan(name, mesh, actor)
        version, now = known.version + 1, self._clock()
        async with self._endpoints.carried_out(plan, name, actor) as work:
            await work.meshes.publish(self._publication(name, version, number, actor))
            await work.events.record(_event(actor, now, act, name, plan, number, version))
        return Applied(
            name=name, revision=number, version=version, endpoints=plan.endpoints, warnings=warnings
        )

    def _publication(self, name: str, version: int, revision: int, actor: Actor) -> MeshPublicationRow:
        return MeshPublicationRow(
            policy=name,
            version=version,
            revision=revision,
            published_at=self._clock(),
            published_by=actor.label,
        )


def _event(
    actor: Actor, now: float, act: str, name: str, plan: Plan, revision: int = 0, version: int = 0
) -> AdminEvent:
    numbers = {"revision": revision, "version": version} if revision else {}
    return actor.event(now, f"mesh.{act}", name, {**numbers, "endpoints": len(plan.publications)})
