"""What can be done with policies: apply, roll out, undo, delete, and look back.

Stands between the API and everything that makes a policy effective: merge with MeshPolicies -> validate -> conflicts ->
compile -> sign (publishing.py) -> store (revision, publication and admin event in one transaction) -> tell the push
side. Compiling and signing come before storing, so that what is stored can always be published.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from bartizan.api import Applied, Change
from bartizan.errors import Conflict, NotFound
from bartizan.policy.effective import Effective
from bartizan.policy.validate import Written
from bartizan.telemetry.tracing import step
from control_plane.policies.actor import Actor
from control_plane.policies.diff import differences
from control_plane.policies.meshes import MeshPolicies
from control_plane.policies.publishing import (
    InEffect,
    KeptElsewhere,
    PolicyChanged,
    PreconditionFailed,
    Publishing,
    Signer,
    check_origin,
    in_effect,
    publish,
    written_of,
)
from control_plane.policies.revisions import check_conflicts, digest_of, document_of
from control_plane.store.base import PolicyRow, PublicationRow, RevisionRow, Store, Work

__all__ = ["KeptElsewhere", "Policies", "PolicyState", "PreconditionFailed", "Signer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """A policy with its newest publication, None when nothing is published."""

    row: PolicyRow
    publication: PublicationRow | None


class Policies:
    """The service of ModelPolicies; `meshes` is that of MeshPolicies. Changes run one after the other."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        changed: PolicyChanged,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._changed = changed
        self._clock = clock
        self._publishing = Publishing(signer, clock)
        self.meshes = MeshPolicies(store, self._publishing, changed, clock)

    async def read(self, text: bytes) -> Written:
        """A document of either kind, not yet judged. Raises PolicyInvalid when it can't be read."""
        return await self._publishing.read(text)

    async def validate(self, written: Written) -> str:
        """Its name. Raises PolicyInvalid with every problem, those that only compiling finds included."""
        async with self._store.begin() as work:
            rows = await work.meshes.in_effect()
        effective = await self._publishing.judge(written, in_effect(rows).meshes)
        await self._publishing.compile(effective, revision=1, version=1)
        return effective.policy.qualified_name

    async def apply(
        self,
        text: bytes | Written,
        actor: Actor,
        *,
        rollout: bool = True,
        reason: str = "",
        expected: int | None = None,
    ) -> Applied:
        """A new revision unless the newest one is this very document; published when `rollout`.

        expected: number of the newest revision (0: none yet), else PreconditionFailed.
        Raises PolicyInvalid, PolicyConflict, KeptElsewhere, DependencyUnavailable (no signature to be had).
        """
        written = text if isinstance(text, Written) else await self.read(text)
        async with self._store.begin() as work:
            touching = in_effect(await work.meshes.in_effect())
        effective = await self._publishing.judge(written, touching.meshes)
        policy = effective.policy
        name, document = policy.qualified_name, document_of(written.document)
        async with self._exclusive(name, actor) as known:
            async with self._store.begin() as work:
                newest = await work.policies.revision(name, known.revision) if known else None
                alive = known is not None and known.deleted_at is None
                current = known.revision if known is not None and alive else 0
                if expected is not None and expected != current:
                    raise PreconditionFailed(f"the newest revision of {name} is {current}, not {expected}")
                published = (await self._published(work, name)) if alive else None
                others = await work.policies.current_documents(policy.metadata.namespace)
                now_touching = in_effect(await work.meshes.in_effect())
            if now_touching.versions != touching.versions:
                touching = now_touching
                effective = await self._publishing.judge(written, touching.meshes)
            # Not within the transaction: one that is open keeps every other writer waiting.
            check_conflicts(policy, others)
            changed = not alive or newest is None or newest.document != document
            number = known.revision + int(changed) if known else 1
            if not changed and (not rollout or (published is not None and published.revision == number)):
                version = published.version if published and published.revision == number else 0
                return Applied(name=name, revision=number, version=version, changed=False)
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
            version = (known.version if known else 0) + 1
            prepared = None
            if rollout:
                prepared = await self._publishing.prepare(effective, number, version, actor)
            else:
                await self._publishing.compile(effective, revision=number, version=version)
            with step("policy.publish" if rollout else "policy.store"):
                async with self._store.begin() as work:
                    await work.policies.alone(policy.metadata.namespace, others)
                    await work.meshes.hold(touching.versions)
                    if changed:
                        await work.policies.add_revision(
                            revision, namespace=policy.metadata.namespace, origin=actor.origin
                        )
                    if prepared is not None:
                        await publish(work, prepared)
                    detail = _detail(effective, number, version if rollout else 0)
                    await work.events.record(actor.event(now, "policy.apply", name, detail))
                if prepared is not None:
                    await self._changed(name)
            return Applied(name=name, revision=number, version=version if rollout else 0, changed=changed)

    async def roll_out(self, name: str, number: int, actor: Actor, *, act: str = "policy.rollout") -> Applied:
        """Publish a stored revision under a new version. Raises NotFound, PolicyInvalid, PolicyConflict."""
        async with self._exclusive(name, actor) as known:
            return await self._republish(_present(known, name), number, actor, act)

    async def undo(self, name: str, actor: Actor) -> Applied:
        """Publish again what was published before the present revision. Twice undone is as before.

        Of MeshPolicies those of now hold for it: an override is not undone with it.
        """
        async with self._exclusive(name, actor) as known:
            present = _present(known, name)
            async with self._store.begin() as work:
                past = await work.policies.publications(name)
            earlier = next((row.revision for row in past if row.revision != past[0].revision), None)
            if earlier is None:
                raise Conflict(f"nothing to undo: {name} has had only one published revision")
            return await self._republish(present, earlier, actor, "policy.undo")

    async def delete(self, name: str, actor: Actor) -> None:
        """Sidecars that it selected then deny everything. Numbers go on if it comes back."""
        async with self._exclusive(name, actor) as known:
            _present(known, name)
            now = self._clock()
            async with self._store.begin() as work:
                await work.policies.delete(name, at=now)
                await work.events.record(actor.event(now, "policy.delete", name))
            await self._changed(name)

    async def state(self, name: str) -> PolicyState:
        """Raises NotFound."""
        async with self._store.begin() as work:
            row = await self._alive(work, name)
            return PolicyState(row=row, publication=await self._published(work, name))

    async def states(self, namespace: str = "") -> Sequence[PolicyState]:
        async with self._store.begin() as work:
            published = {row.policy: row for row in await work.policies.published()}
            rows = await work.policies.all(namespace=namespace)
        return [PolicyState(row=row, publication=published.get(row.name)) for row in rows]

    async def effective(self, name: str, number: int | None = None) -> Effective:
        """A revision (default: the published one, else the newest) with the MeshPolicies that hold now.

        Raises NotFound, PolicyInvalid.
        """
        async with self._store.begin() as work:
            row = await self._alive(work, name)
            published = await self._published(work, name)
            wanted = number or (published.revision if published else row.revision)
            stored = await work.policies.revision(name, wanted)
            rows = await work.meshes.in_effect()
        if stored is None:
            raise NotFound(f"{name} has no revision {wanted}")
        return await self._publishing.judge(written_of(stored.document), in_effect(rows).meshes)

    async def revision(self, name: str, number: int) -> RevisionRow:
        """Raises NotFound."""
        async with self._store.begin() as work:
            await self._alive(work, name)
            found = await work.policies.revision(name, number)
        if found is None:
            raise NotFound(f"{name} has no revision {number}")
        return found

    async def revisions(self, name: str) -> Sequence[RevisionRow]:
        """Newest first. Raises NotFound."""
        async with self._store.begin() as work:
            await self._alive(work, name)
            return await work.policies.revisions(name)

    async def publications(self, name: str) -> Sequence[PublicationRow]:
        """Newest first. Raises NotFound."""
        async with self._store.begin() as work:
            await self._alive(work, name)
            return await work.policies.publications(name)

    async def diff(self, name: str, before: int, after: int) -> tuple[Change, ...]:
        """What changed and what that loosens, under the MeshPolicies of now. Raises NotFound, PolicyInvalid."""
        one, other = await self.effective(name, before), await self.effective(name, after)
        return differences(one.policy, other.policy)

    @contextlib.asynccontextmanager
    async def _exclusive(self, name: str, actor: Actor) -> AsyncIterator[PolicyRow | None]:
        async with self._publishing.lock:
            async with self._store.begin() as work:
                known = await work.policies.get(name)
            check_origin(known, actor)
            yield known

    async def _republish(self, known: PolicyRow, number: int, actor: Actor, act: str) -> Applied:
        async with self._store.begin() as work:
            stored = await work.policies.revision(known.name, number)
            if stored is None:
                raise NotFound(f"{known.name} has no revision {number}")
            others = await work.policies.current_documents(known.namespace)
            touching: InEffect = in_effect(await work.meshes.in_effect())
        effective = await self._publishing.judge(written_of(stored.document), touching.meshes)
        check_conflicts(effective.policy, others)
        version = known.version + 1
        prepared = await self._publishing.prepare(effective, number, version, actor)
        with step("policy.publish"):
            async with self._store.begin() as work:
                await work.policies.alone(known.namespace, others)
                await work.meshes.hold(touching.versions)
                await publish(work, prepared)
                detail = _detail(effective, number, version)
                await work.events.record(actor.event(self._clock(), act, known.name, detail))
            await self._changed(known.name)
        return Applied(name=known.name, revision=number, version=version)

    @staticmethod
    async def _published(work: Work, name: str) -> PublicationRow | None:
        rows = await work.policies.publications(name, limit=1)
        return rows[0] if rows else None

    @staticmethod
    async def _alive(work: Work, name: str) -> PolicyRow:
        return _present(await work.policies.get(name), name)


def _present(row: PolicyRow | None, name: str) -> PolicyRow:
    if row is None or row.deleted_at is not None:
        raise NotFound(f"no policy {name}")
    return row


def _detail(effective: Effective, revision: int, version: int) -> Mapping[str, object]:
    meshes = [mesh.policy.name for mesh in effective.meshes]
    return {"revision": revision, "version": version, **({"meshes": meshes} if meshes else {})}
