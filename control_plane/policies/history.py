"""What policies of both kinds have in common: numbered revisions, one of which is in effect; look back, roll out, undo.

service.py (ModelPolicies) and meshes.py (MeshPolicies) build on it and say what a change does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from bartizan.api import Applied
from bartizan.errors import Conflict, NotFound
from control_plane.policies.actor import Actor
from control_plane.policies.publishing import PreconditionFailed, Publishing, check_origin
from control_plane.policies.revisions import digest_of
from control_plane.store.base import (
    DocumentStore,
    PolicyRow,
    Published,
    RevisionRow,
    Store,
    Work,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """To apply a document. expected: number of the newest revision, 0: none yet, None: whatever it is."""

    name: str
    document: str
    actor: Actor
    reason: str
    expected: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What applying a document would store. changed: False when it is the newest revision already.

    holds: the version under which this very revision is in effect, 0: it is not. version: the next one.
    """

    revision: RevisionRow
    changed: bool
    holds: int
    version: int

    def unchanged(self, *, rollout: bool) -> Applied | None:
        """The answer when there is nothing to do."""
        if self.changed or (rollout and not self.holds):
            return None
        row = self.revision
        return Applied(name=row.policy, revision=row.number, version=self.holds, changed=False)


class History(Generic[Published]):
    """Of one kind; changes run one after the other. kind: in messages; of: where the kind is kept."""

    def __init__(
        self,
        store: Store,
        publishing: Publishing,
        clock: Callable[[], float],
        *,
        kind: str,
        of: Callable[[Work], DocumentStore[Published]],
    ) -> None:
        self._store = store
        self._publishing = publishing
        self._clock = clock
        self._kind = kind
        self._of = of

    async def roll_out(self, name: str, number: int, actor: Actor) -> Applied:
        """Put a stored revision in effect under a new version. Raises NotFound, PolicyInvalid, PolicyConflict."""
        async with self._publishing.turn():
            return await self._put_in_effect(name, number, actor, "rollout")

    async def undo(self, name: str, actor: Actor) -> Applied:
        """Put in effect again what was before the present revision. Twice undone is as before.

        Of MeshPolicies those of now hold for a ModelPolicy: an override is not undone with it. Raises Conflict when
        there is nothing to undo, and as `roll_out` does.
        """
        async with self._publishing.turn():
            async with self._store.begin() as work:
                await self._changeable(work, name, actor)
                present = await self._of(work).published(name)
                if not present:
                    raise Conflict(f"nothing to undo: nothing of {name} is in effect")
                earlier = await self._of(work).revision_before(name, present[0].revision)
            if earlier is None:
                raise Conflict(f"nothing to undo: only one revision of {name} was ever in effect")
            return await self._put_in_effect(name, earlier, actor, "undo")

    async def revision(self, name: str, number: int) -> RevisionRow:
        """Raises NotFound."""
        async with self._store.begin() as work:
            await self._alive(work, name)
            return await self._stored(work, name, number)

    async def revisions(
        self, name: str, *, limit: int = 200, before: int | None = None
    ) -> Sequence[RevisionRow]:
        """Newest first; before: number of the last one seen. Raises NotFound."""
        async with self._store.begin() as work:
            await self._alive(work, name)
            return await self._of(work).revisions(name, limit=limit, before=before)

    async def publications(
        self, name: str, *, limit: int = 200, before: int | None = None
    ) -> Sequence[Published]:
        """Newest first; before: version of the last one seen. Raises NotFound."""
        async with self._store.begin() as work:
            await self._alive(work, name)
            return await self._of(work).publications(name, limit=limit, before=before)

    async def publication(self, name: str, version: int) -> Published:
        """Raises NotFound."""
        async with self._store.begin() as work:
            await self._alive(work, name)
            found = await self._of(work).publications(name, limit=1, before=version + 1)
        if not found or found[0].version != version:
            raise NotFound(f"{self._kind} {name} was never published as version {version}")
        return found[0]

    async def _put_in_effect(self, name: str, number: int, actor: Actor, act: str) -> Applied:
        raise NotImplementedError

    async def _changeable(self, work: Work, name: str, actor: Actor) -> PolicyRow:
        """Raises NotFound, KeptElsewhere."""
        known = await self._alive(work, name)
        check_origin(known, actor)
        return known

    async def _draft(self, work: Work, asked: Asked) -> Draft:
        """Raises PreconditionFailed, KeptElsewhere."""
        known = await self._of(work).get(asked.name)
        check_origin(known, asked.actor)
        current = known.revision if known is not None and known.deleted_at is None else 0
        if asked.expected is not None and asked.expected != current:
            raise PreconditionFailed(
                f"the newest revision of {asked.name} is {current}, not {asked.expected}"
            )
        newest = await self._of(work).revision(asked.name, current)
        changed = newest is None or newest.document != asked.document
        # what is new is not in effect, so that nothing need be asked
        published = () if changed else await self._of(work).published(asked.name)
        number = (known.revision if known else 0) + int(changed)
        return Draft(
            revision=RevisionRow(
                policy=asked.name,
                number=number,
                document=asked.document,
                digest=digest_of(asked.document),
                author=asked.actor.label,
                reason=asked.reason,
                created_at=self._clock(),
            ),
            changed=changed,
            holds=published[0].version if published and published[0].revision == number else 0,
            version=(known.version if known else 0) + 1,
        )

    async def _alive(self, work: Work, name: str) -> PolicyRow:
        return self._present(await self._of(work).get(name), name)

    async def _stored(self, work: Work, name: str, number: int) -> RevisionRow:
        found = await self._of(work).revision(name, number)
        if found is None:
            raise NotFound(f"{self._kind} {name} has no revision {number}")
        return found

    def _present(self, row: PolicyRow | None, name: str) -> PolicyRow:
        if row is None or row.deleted_at is not None:
            raise NotFound(f"no {self._kind} {name}")
        return row
