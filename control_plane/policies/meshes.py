"""What can be done with MeshPolicies: apply, roll out, undo, delete, and look back.

Beside service.py. What a change does to endpoints, to all of them or to none, is in endpoints.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from bartizan.api import Applied, Change
from bartizan.errors import Conflict, NotFound
from bartizan.policy.effective import touching_meshes
from bartizan.policy.validate import Written
from control_plane.policies.actor import Actor
from control_plane.policies.diff import differences, mesh_differences
from control_plane.policies.endpoints import Endpoints, Plan
from control_plane.policies.publishing import (
    PolicyChanged,
    PreconditionFailed,
    Publishing,
    check_origin,
    in_effect,
    mesh_of,
    written_of,
)
from control_plane.policies.revisions import digest_of, document_of, plain
from control_plane.store.base import AdminEvent, MeshPublicationRow, PolicyRow, RevisionRow, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshState:
    """A MeshPolicy, what is in effect of it (None: nothing), and the endpoints that this touches."""

    row: PolicyRow
    publication: MeshPublicationRow | None
    endpoints: tuple[str, ...]


class MeshPolicies:
    """The service of MeshPolicies; made by Policies, with whom it shares `publishing` and its lock."""

    def __init__(
        self, store: Store, publishing: Publishing, changed: PolicyChanged, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._publishing = publishing
        self._endpoints = Endpoints(store, publishing, changed, clock)
        self._clock = clock

    async def validate(self, written: Written) -> str:
        """Its name. Raises PolicyInvalid with every problem here and at each endpoint, PolicyConflict for ties."""
        mesh = await self._publishing.judge_mesh(written)
        async with self._publishing.lock:
            await self._endpoints.plan(mesh.policy.name, mesh)
        return mesh.policy.name

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
        name, document = mesh.policy.name, document_of(mesh.document)
        async with self._exclusive(name, actor) as known:
            async with self._store.begin() as work:
                newest = await work.meshes.revision(name, known.revision) if known else None
                past = await work.meshes.publications(name, limit=1)
            alive = known is not None and known.deleted_at is None
            current = known.revision if known is not None and alive else 0
            if expected is not None and expected != current:
                raise PreconditionFailed(f"the newest revision of {name} is {current}, not {expected}")
            changed = not alive or newest is None or newest.document != document
            number = known.revision + int(changed) if known else 1
            holds = past[0].version if alive and past and past[0].revision == number else 0
            if not changed and (holds or not rollout):
                return Applied(name=name, revision=number, version=holds, changed=False)
            plan = await self._endpoints.plan(name, mesh, actor if rollout else None)
            now = self._clock()
            revision = RevisionRow(
                policy=name,
                number=number,
                document=document,
                digest=digest_of(document),
                author=actor.label,
                reason=reason,
                created_at=now,
            )
            version = (known.version if known else 0) + 1 if rollout else 0
            async with self._endpoints.carried_out(plan, name, actor) as work:
                if changed:
                    await work.meshes.add_revision(revision, origin=actor.origin)
                if rollout:
                    await work.meshes.publish(self._publication(name, version, number, actor))
                await work.events.record(_event(actor, now, "mesh.apply", name, plan, number, version))
        return Applied(name=name, revision=number, version=version, changed=changed, endpoints=plan.endpoints)

    async def roll_out(self, name: str, number: int, actor: Actor, *, act: str = "mesh.rollout") -> Applied:
        """A stored revision is in effect. Raises NotFound, PolicyInvalid, PolicyConflict."""
        async with self._exclusive(name, actor) as known:
            return await self._put_in_effect(_present(known, name), number, actor, act)

    async def undo(self, name: str, actor: Actor) -> Applied:
        """What was in effect before the present revision is again. Raises Conflict when nothing was."""
        async with self._exclusive(name, actor) as known:
            present = _present(known, name)
            async with self._store.begin() as work:
                past = await work.meshes.publications(name)
            earlier = next((row.revision for row in past if row.revision != past[0].revision), None)
            if earlier is None:
                raise Conflict(f"nothing to undo: only one revision of {name} was ever in effect")
            return await self._put_in_effect(present, earlier, actor, "mesh.undo")

    async def delete(self, name: str, actor: Actor) -> None:
        """Its endpoints are as without it. Raises PolicyInvalid when one of them can't be: it needs its defaults."""
        async with self._exclusive(name, actor) as known:
            _present(known, name)
            plan = await self._endpoints.plan(name, None, actor)
            now = self._clock()
            async with self._endpoints.carried_out(plan, name, actor) as work:
                await work.meshes.delete(name, at=now)
                await work.events.record(_event(actor, now, "mesh.delete", name, plan))

    async def state(self, name: str) -> MeshState:
        """Raises NotFound."""
        async with self._store.begin() as work:
            _present(await work.meshes.get(name), name)
        return next(state for state in await self.states() if state.row.name == name)

    async def states(self) -> Sequence[MeshState]:
        async with self._store.begin() as work:
            rows = await work.meshes.all()
            past = {row.name: await work.meshes.publications(row.name, limit=1) for row in rows}
            holding = {row.name: row.document for row in await work.meshes.in_effect()}
            policies = await work.policies.in_effect()
        documents = {each.name: plain(each.document) for each in policies}
        return [
            MeshState(
                row=row,
                publication=past[row.name][0] if row.name in holding else None,
                endpoints=tuple(
                    name
                    for name, document in documents.items()
                    if row.name in holding and touching_meshes(document, [mesh_of(holding[row.name])])
                ),
            )
            for row in rows
        ]

    async def revision(self, name: str, number: int) -> RevisionRow:
        """Raises NotFound."""
        async with self._store.begin() as work:
            _present(await work.meshes.get(name), name)
            found = await work.meshes.revision(name, number)
        if found is None:
            raise NotFound(f"MeshPolicy {name} has no revision {number}")
        return found

    async def revisions(self, name: str) -> Sequence[RevisionRow]:
        """Newest first. Raises NotFound."""
        async with self._store.begin() as work:
            _present(await work.meshes.get(name), name)
            return await work.meshes.revisions(name)

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

    @contextlib.asynccontextmanager
    async def _exclusive(self, name: str, actor: Actor) -> AsyncIterator[PolicyRow | None]:
        async with self._publishing.lock:
            async with self._store.begin() as work:
                known = await work.meshes.get(name)
            check_origin(known, actor)
            yield known

    async def _put_in_effect(self, known: PolicyRow, number: int, actor: Actor, act: str) -> Applied:
        async with self._store.begin() as work:
            stored = await work.meshes.revision(known.name, number)
        if stored is None:
            raise NotFound(f"MeshPolicy {known.name} has no revision {number}")
        plan = await self._endpoints.plan(known.name, mesh_of(stored.document), actor)
        version, now = known.version + 1, self._clock()
        async with self._endpoints.carried_out(plan, known.name, actor) as work:
            await work.meshes.publish(self._publication(known.name, version, number, actor))
            await work.events.record(_event(actor, now, act, known.name, plan, number, version))
        return Applied(name=known.name, revision=number, version=version, endpoints=plan.endpoints)

    def _publication(self, name: str, version: int, revision: int, actor: Actor) -> MeshPublicationRow:
        return MeshPublicationRow(
            policy=name,
            version=version,
            revision=revision,
            published_at=self._clock(),
            published_by=actor.label,
        )


def _present(row: PolicyRow | None, name: str) -> PolicyRow:
    if row is None or row.deleted_at is not None:
        raise NotFound(f"no MeshPolicy {name}")
    return row


def _event(
    actor: Actor, now: float, act: str, name: str, plan: Plan, revision: int = 0, version: int = 0
) -> AdminEvent:
    numbers = {"revision": revision, "version": version} if revision else {}
    return actor.event(now, act, name, {**numbers, "endpoints": len(plan.publications)})
