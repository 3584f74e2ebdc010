"""What can be done with ModelPolicies: apply, delete, and what history.py has for both kinds.

Stands between the API and everything that makes a policy effective: merge with MeshPolicies -> validate -> conflicts ->
compile -> sign (publishing.py) -> store (revision, publication and admin event in one transaction) -> tell the push
side. Compiling and signing come before storing, so that what is stored can always be published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bartizan.api import Applied, Change, Preview, items
from bartizan.errors import PolicyInvalid
from bartizan.policy.effective import Effective
from bartizan.policy.validate import Written
from bartizan.telemetry.tracing import step
from control_plane.policies.actor import Actor
from control_plane.policies.diff import differences
from control_plane.policies.history import Asked, History
from control_plane.policies.meshes import MeshPolicies
from control_plane.policies.publishing import (
    InEffect,
    KeptElsewhere,
    PolicyChanged,
    PreconditionFailed,
    Publishing,
    Signer,
    in_effect,
    written_of,
)
from control_plane.policies.revisions import check_conflicts, document_of
from control_plane.store.base import InEffectRow, PolicyRow, PublicationHead, Store

__all__ = ["KeptElsewhere", "Policies", "PolicyState", "PreconditionFailed", "Signer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """A policy with its newest publication, None when nothing is published."""

    row: PolicyRow
    publication: PublicationHead | None


class Policies(History[PublicationHead]):
    """The service of ModelPolicies; `meshes` is that of MeshPolicies. Changes run one after the other."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        changed: PolicyChanged,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            store, Publishing(signer, clock), clock, kind="policy", of=lambda work: work.policies
        )
        self._changed = changed
        self.meshes = MeshPolicies(store, self._publishing, changed, clock)

    async def read(self, text: bytes) -> Written:
        """A document of either kind, not yet judged. Raises PolicyInvalid when it can't be read."""
        return await self._publishing.read(text)

    async def validate(self, written: Written) -> Preview:
        """Compared with what is published. Raises PolicyInvalid with every problem, those of compiling included."""
        async with self._store.begin() as work:
            rows = await work.meshes.in_effect()
        effective = await self._publishing.judge(written, in_effect(rows).meshes)
        await self._publishing.compile(effective, revision=1, version=1)
        warnings = await self._publishing.warnings(written, effective)
        name = effective.policy.qualified_name
        made = Preview(name=name, warnings=warnings)
        if published := await self._published(name):
            made = replace(made, from_revision=published)
            try:
                before = await self.effective(name, published)
            except PolicyInvalid as refusal:  # of an older release, which took what this one does not
                return replace(made, uncomparable=items(refusal.problems))
            made = replace(made, changes=differences(before.policy, effective.policy))
        return made

    async def _published(self, name: str) -> int:
        """Number of the published revision, 0 where none is."""
        async with self._store.begin() as work:
            row = await work.policies.get(name)
            if row is None or row.deleted_at is not None:
                return 0
            publication = await work.policies.publication(name, row.published)
        return publication.revision if publication else 0

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
        name = policy.qualified_name
        asked = Asked(
            name=name, document=document_of(written.document), actor=actor, reason=reason, expected=expected
        )
        async with self._publishing.turn():
            async with self._store.begin() as work:
                draft = await self._draft(work, asked)
                others = await work.policies.current_documents(policy.metadata.namespace)
                moved = await work.meshes.heads() != touching.versions
                if moved:
                    touching = in_effect(await work.meshes.in_effect())
            if moved:
                effective = await self._publishing.judge(written, touching.meshes)
            # Not within the transaction: one that is open keeps every other writer waiting.
            check_conflicts(policy, others)
            if (unchanged := draft.unchanged(rollout=rollout)) is not None:
                return replace(unchanged, warnings=await self._publishing.warnings(written, effective))
            number, version = draft.revision.number, draft.version
            prepared = None
            if rollout:
                prepared = await self._publishing.prepare(effective, number, version, actor)
            else:
                await self._publishing.compile(effective, revision=number, version=version)
            with step("policy.publish" if rollout else "policy.store"):
                async with self._store.begin() as work:
                    await work.policies.alone(policy.metadata.namespace, others)
                    await work.meshes.hold(touching.versions)
                    if draft.changed:
                        await work.policies.add_revision(
                            draft.revision, namespace=policy.metadata.namespace, origin=actor.origin
                        )
                    if prepared is not None:
                        await work.policies.publish(prepared)
                    detail = _detail(effective, number, version if rollout else 0)
                    event = actor.event(draft.revision.created_at, "policy.apply", name, detail)
                    await work.events.record(event)
                if prepared is not None:
                    await self._changed(name, prepared, asked.document)
            return Applied(
                name=name,
                revision=number,
                version=version if rollout else 0,
                changed=draft.changed,
                warnings=await self._publishing.warnings(written, effective),
            )

    async def delete(self, name: str, actor: Actor) -> None:
        """Sidecars that it selected then deny everything. Numbers go on if it comes back."""
        async with self._publishing.turn():
            now = self._clock()
            async with self._store.begin() as work:
                await self._changeable(work, name, actor)
                await work.policies.delete(name, at=now)
                await work.events.record(actor.event(now, "policy.delete", name))
            await self._changed(name)

    async def state(self, name: str) -> PolicyState:
        """Raises NotFound."""
        async with self._store.begin() as work:
            row = await self._alive(work, name)
            published = await work.policies.published(name)
        return PolicyState(row=row, publication=published[0] if published else None)

    async def states(self, namespace: str = "") -> Sequence[PolicyState]:
        async with self._store.begin() as work:
            published = {row.policy: row for row in await work.policies.published()}
            rows = await work.policies.all(namespace=namespace)
        return [PolicyState(row=row, publication=published.get(row.name)) for row in rows]

    async def in_effect(self) -> Sequence[tuple[InEffectRow, Effective | PolicyInvalid]]:
        """Every published policy with the MeshPolicies that hold now, or why this release no longer accepts it."""
        async with self._store.begin() as work:
            rows = await work.policies.in_effect()
            meshes = in_effect(await work.meshes.in_effect()).meshes
        found: list[tuple[InEffectRow, Effective | PolicyInvalid]] = []
        for row in rows:
            try:
                found.append((row, await self._publishing.judge(written_of(row.document), meshes)))
            except PolicyInvalid as refusal:
                found.append((row, refusal))
        return found

    async def effective(self, name: str, number: int | None = None) -> Effective:
        """A revision (default: the published one, else the newest) with the MeshPolicies that hold now.

        Raises NotFound, PolicyInvalid.
        """
        async with self._store.begin() as work:
            row = await self._alive(work, name)
            published = await work.policies.published(name)
            wanted = number or (published[0].revision if published else row.revision)
            stored = await self._stored(work, name, wanted)
            rows = await work.meshes.in_effect()
        return await self._publishing.judge(written_of(stored.document), in_effect(rows).meshes)

    async def diff(self, name: str, before: int, after: int) -> tuple[tuple[Change, ...], tuple[str, ...]]:
        """What changed and what that loosens, under the MeshPolicies of now. Raises NotFound, PolicyInvalid."""
        one, other = await self.effective(name, before), await self.effective(name, after)
        changes = differences(one.policy, other.policy)
        return changes, tuple(change.loosens for change in changes if change.loosens)

    async def _put_in_effect(self, name: str, number: int, actor: Actor, act: str) -> Applied:
        async with self._store.begin() as work:
            known = await self._changeable(work, name, actor)
            stored = await self._stored(work, name, number)
            others = await work.policies.current_documents(known.namespace)
            touching: InEffect = in_effect(await work.meshes.in_effect())
        written = written_of(stored.document)
        effective = await self._publishing.judge(written, touching.meshes)
        check_conflicts(effective.policy, others)
        version = known.version + 1
        prepared = await self._publishing.prepare(effective, number, version, actor)
        with step("policy.publish"):
            async with self._store.begin() as work:
                await work.policies.alone(known.namespace, others)
                await work.meshes.hold(touching.versions)
                await work.policies.publish(prepared)
                detail = _detail(effective, number, version)
                await work.events.record(actor.event(self._clock(), f"policy.{act}", name, detail))
            await self._changed(name, prepared, stored.document)
        warnings = await self._publishing.warnings(written, effective)
        return Applied(name=name, revision=number, version=version, warnings=warnings)


def _detail(effective: Effective, revision: int, version: int) -> Mapping[str, object]:
    meshes = [mesh.policy.name for mesh in effective.meshes]
    return {"revision": revision, "version": version, **({"meshes": meshes} if meshes else {})}
