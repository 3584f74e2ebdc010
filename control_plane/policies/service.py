"""What can be done with policies: apply, roll out, undo, delete, and look back.

Stands between the API and everything that makes a policy effective: validate -> conflicts -> compile -> sign -> store
(revision, publication and admin event in one transaction) -> tell the push side. Compiling and signing come before
storing, so that what is stored can always be published.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bartizan.api import Applied, Change
from bartizan.errors import Conflict, NotFound
from bartizan.policy.bundle import Bundle
from bartizan.policy.canonical import canonical, plan_hash
from bartizan.policy.schema import ModelPolicy
from bartizan.policy.validate import parse_policy
from bartizan.telemetry.tracing import step
from control_plane.compile.bundle import compile_bundle
from control_plane.policies.actor import Actor
from control_plane.policies.diff import differences
from control_plane.policies.revisions import check_conflicts, digest_of, document_of, policy_of
from control_plane.store.base import Origin, PolicyRow, PublicationRow, RevisionRow, Store, Work
from protos.gen.bartizan.policy.v1 import policy_pb2


class Signer(Protocol):
    """Signs bundles (Vault transit in production)."""

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        """(key id, Ed25519 signature of signing_input(payload)). Raises DependencyUnavailable."""
        ...


_ELSEWHERE: Mapping[Origin, str] = {
    "kubernetes": "{} is kept in Kubernetes and can only be read here: change the ModelPolicy object",
    "api": "{} is kept in the control plane: delete it there, or give the object another name",
}
PolicyChanged = Callable[[str], Awaitable[None]]
"""Tells the push side that a policy's newest publication changed or that the policy is gone."""


class KeptElsewhere(Conflict):
    """The policy's document is kept in another place (API, cluster) and can only be changed there."""


class PreconditionFailed(Conflict):
    """If-Match named another revision than the newest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """A policy with its newest publication, None when nothing is published."""

    row: PolicyRow
    publication: PublicationRow | None


class Policies:
    """The policy service. Calls for one policy run one after the other."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        changed: PolicyChanged,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._signer = signer
        self._changed = changed
        self._clock = clock
        # A hostile document takes seconds: off the loop, and never more than a few at once.
        self._parsers = asyncio.Semaphore(2)
        # One lock: applying is rare and short, and conflicts are between policies.
        self._lock = asyncio.Lock()

    async def validate(self, text: bytes) -> ModelPolicy:
        """Raises PolicyInvalid with every problem, those that only compiling finds included."""
        policy = await self._parse(text)
        await self._compile(policy, revision=1, version=1)
        return policy

    async def apply(
        self,
        text: bytes,
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
        policy = await self._parse(text)
        name, document = policy.qualified_name, document_of(policy)
        async with self._exclusive(name, actor) as known:
            async with self._store.begin() as work:
                newest = await work.policies.revision(name, known.revision) if known else None
                alive = known is not None and known.deleted_at is None
                current = known.revision if known is not None and alive else 0
                if expected is not None and expected != current:
                    raise PreconditionFailed(f"the newest revision of {name} is {current}, not {expected}")
                published = (await self._published(work, name)) if alive else None
                others = await work.policies.current_documents(policy.metadata.namespace)
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
            prepared = await self._prepare(policy, number, version, actor, sign=rollout)
            with step("policy.publish" if rollout else "policy.store"):
                async with self._store.begin() as work:
                    await work.policies.alone(policy.metadata.namespace, others)
                    if changed:
                        await work.policies.add_revision(
                            revision, namespace=policy.metadata.namespace, origin=actor.origin
                        )
                    if prepared is not None:
                        await self._publish(work, prepared)
                    detail = {"revision": number, "version": version if rollout else 0}
                    await work.events.record(actor.event(now, "policy.apply", name, detail))
                if prepared is not None:
                    await self._changed(name)
            return Applied(name=name, revision=number, version=version if rollout else 0, changed=changed)

    async def roll_out(self, name: str, number: int, actor: Actor, *, act: str = "policy.rollout") -> Applied:
        """Publish a stored revision under a new version. Raises NotFound, PolicyInvalid, PolicyConflict."""
        async with self._exclusive(name, actor) as known:
            if known is None or known.deleted_at is not None:
                raise NotFound(f"no policy {name}")
            return await self._republish(known, number, actor, act)

    async def undo(self, name: str, actor: Actor) -> Applied:
        """Publish again what was published before the present revision. Twice undone is as before."""
        async with self._exclusive(name, actor) as known:
            if known is None or known.deleted_at is not None:
                raise NotFound(f"no policy {name}")
            async with self._store.begin() as work:
                past = await work.policies.publications(name)
            earlier = next((row.revision for row in past if row.revision != past[0].revision), None)
            if earlier is None:
                raise Conflict(f"nothing to undo: {name} has had only one published revision")
            return await self._republish(known, earlier, actor, "policy.undo")

    async def delete(self, name: str, actor: Actor) -> None:
        """Sidecars that it selected then deny everything. Numbers go on if it comes back."""
        async with self._exclusive(name, actor) as known:
            if known is None or known.deleted_at is not None:
                raise NotFound(f"no policy {name}")
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
        """What changed and what that loosens. Raises NotFound."""
        one, other = await self.revision(name, before), await self.revision(name, after)
        return differences(policy_of(one.document), policy_of(other.document))

    @contextlib.asynccontextmanager
    async def _exclusive(self, name: str, actor: Actor) -> AsyncIterator[PolicyRow | None]:
        async with self._lock:
            async with self._store.begin() as work:
                known = await work.policies.get(name)
            if known is not None and known.deleted_at is None and known.origin != actor.origin:
                raise KeptElsewhere(_ELSEWHERE[known.origin].format(name))
            yield known

    async def _republish(self, known: PolicyRow, number: int, actor: Actor, act: str) -> Applied:
        async with self._store.begin() as work:
            stored = await work.policies.revision(known.name, number)
            if stored is None:
                raise NotFound(f"{known.name} has no revision {number}")
            others = await work.policies.current_documents(known.namespace)
        policy = await asyncio.to_thread(policy_of, stored.document)
        check_conflicts(policy, others)
        version = known.version + 1
        prepared = await self._prepare(policy, number, version, actor, sign=True)
        with step("policy.publish"):
            async with self._store.begin() as work:
                await work.policies.alone(known.namespace, others)
                if prepared is not None:
                    await self._publish(work, prepared)
                detail = {"revision": number, "version": version}
                await work.events.record(actor.event(self._clock(), act, known.name, detail))
            await self._changed(known.name)
        return Applied(name=known.name, revision=number, version=version)

    async def _prepare(
        self, policy: ModelPolicy, revision: int, version: int, actor: Actor, *, sign: bool
    ) -> PublicationRow | None:
        """Compiled and, when it is to be published, signed. Nothing is stored yet."""
        bundle = await self._compile(policy, revision=revision, version=version)
        if not sign:
            return None
        payload = canonical(bundle)
        with step("policy.sign"):
            key_id, signature = await self._signer.sign(payload)
        message = policy_pb2.SignedBundle(
            name=policy.qualified_name, payload=payload, key_id=key_id, signature=signature
        )
        return PublicationRow(
            policy=policy.qualified_name,
            version=version,
            revision=revision,
            bundle=message.SerializeToString(deterministic=True),
            key_id=key_id,
            plan_hash=plan_hash(bundle.plan),
            published_at=self._clock(),
            published_by=actor.label,
        )

    async def _parse(self, text: bytes) -> ModelPolicy:
        async with self._parsers:
            with step("policy.validate"):
                return await asyncio.to_thread(parse_policy, text)

    async def _compile(self, policy: ModelPolicy, *, revision: int, version: int) -> Bundle:
        issued = dt.datetime.fromtimestamp(self._clock(), dt.UTC).isoformat(timespec="seconds")
        with step("policy.compile"):
            return await asyncio.to_thread(
                compile_bundle, policy, revision=revision, version=version, issued_at=issued
            )

    @staticmethod
    async def _publish(work: Work, row: PublicationRow) -> None:
        if await work.policies.take_version(row.policy) != row.version:
            raise Conflict(f"{row.policy} was published by somebody else meanwhile; try again")
        await work.policies.add_publication(row)

    @staticmethod
    async def _published(work: Work, name: str) -> PublicationRow | None:
        rows = await work.policies.publications(name, limit=1)
        return rows[0] if rows else None

    @staticmethod
    async def _alive(work: Work, name: str) -> PolicyRow:
        row = await work.policies.get(name)
        if row is None or row.deleted_at is not None:
            raise NotFound(f"no policy {name}")
        return row
