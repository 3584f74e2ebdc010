"""What a change of a MeshPolicy does to the endpoints that it touches: all of it or nothing.

It is judged at every endpoint; those whose effective policy differs are compiled and signed before anything is stored.
One transaction then holds the MeshPolicy's change and a publication of each. Where one endpoint can't take it nothing
happens, and every problem is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from msgspec import UNSET

from bartizan.api import ProblemItem, items
from bartizan.errors import Conflict, PolicyInvalid, Problem
from bartizan.policy.effective import at_endpoint, merged_document, ties
from bartizan.policy.validate import Mesh, invalid
from bartizan.telemetry.tracing import step
from control_plane.policies.actor import Actor
from control_plane.policies.publishing import (
    InEffect,
    PolicyChanged,
    Publishing,
    in_effect,
    written_of,
)
from control_plane.policies.revisions import PolicyConflict
from control_plane.policies.warnings import loosened
from control_plane.store.base import InEffectRow, PublicationRow, Store, Work

_MOST_WARNINGS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Publications of endpoints, and what was in effect when they were made."""

    meshes: InEffect
    policies: Sequence[InEffectRow]
    publications: Sequence[PublicationRow]

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(row.policy for row in self.publications)


class Endpoints:
    """Plan and carry out a change in one turn of `publishing`."""

    def __init__(
        self, store: Store, publishing: Publishing, changed: PolicyChanged, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._publishing = publishing
        self._changed = changed
        self._clock = clock

    async def plan(self, name: str, mesh: Mesh | None, actor: Actor | None = None) -> Plan:
        """That MeshPolicy `name` is `mesh` (None: gone). Without an actor it is judged and nothing is signed.

        Raises PolicyInvalid with the problems of every endpoint, PolicyConflict for MeshPolicies of one priority that
        could meet, DependencyUnavailable (no signature to be had).
        """
        async with self._store.begin() as work:
            meshes = in_effect(await work.meshes.in_effect())
            policies = await work.policies.in_effect()
        rest = meshes.without(name)
        if mesh is not None and (tied := ties(mesh, rest)):
            raise PolicyConflict(tied)
        after = (*rest, mesh) if mesh is not None else rest
        problems: list[Problem] = []
        publications: list[PublicationRow] = []
        for row in policies:
            written = written_of(row.document)
            if merged_document(written, meshes.meshes) == merged_document(written, after):
                continue
            try:
                effective = await self._publishing.judge(written, after)
                if actor is None or problems:  # what is refused anyway is only judged
                    await self._publishing.compile(effective, revision=row.revision, version=row.version)
                else:
                    made = await self._publishing.prepare(effective, row.revision, row.version + 1, actor)
                    publications.append(made)
            except PolicyInvalid as refusal:
                problems.extend(at_endpoint(refusal, row.name))
        if problems:
            raise invalid(problems)
        return Plan(meshes=meshes, policies=policies, publications=publications)

    async def warnings(self, mesh: Mesh) -> tuple[ProblemItem, ...]:
        """What its overrides make less strict than it is written at an endpoint; the first hundred."""
        if mesh.policy.spec.overrides is UNSET:
            return ()
        async with self._store.begin() as work:
            meshes = (*in_effect(await work.meshes.in_effect()).without(mesh.policy.name), mesh)
            policies = await work.policies.in_effect()
        found: list[Problem] = []
        for row in policies:
            found += [
                replace(each, message=f"{each.message} (at endpoint {row.name})")
                for each in await asyncio.to_thread(loosened, written_of(row.document), meshes, mesh)
            ]
            if len(found) >= _MOST_WARNINGS:
                break
        return items(found[:_MOST_WARNINGS])

    @contextlib.asynccontextmanager
    async def carried_out(self, plan: Plan, name: str, actor: Actor) -> AsyncIterator[Work]:
        """The transaction for the MeshPolicy's own rows; the endpoints' are in it, and the push side is told after it.

        Raises Conflict when something that the plan was made from changed meanwhile.
        """
        with step("policy.publish"):
            async with self._store.begin() as work:
                await work.meshes.hold(plan.meshes.versions)
                seen = {row.name: row.version for row in plan.policies}
                if await work.policies.heads() != seen:
                    raise Conflict("policies were changed by somebody else meanwhile; try again")
                yield work
                for row in plan.publications:
                    await work.policies.publish(row)
                    detail = {"revision": row.revision, "version": row.version, "mesh": name}
                    event = actor.event(self._clock(), "policy.inherit", row.policy, detail)
                    await work.events.record(event)
            documents = {row.name: row.document for row in plan.policies}
            for row in plan.publications:
                await self._changed(row.policy, row, documents[row.policy])
