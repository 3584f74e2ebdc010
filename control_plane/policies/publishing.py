"""From documents to what can be published: merged, validated, compiled, signed. Stores nothing.

What the services of both kinds (service.py, meshes.py) have in common; one lock, because what one changes the other reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bartizan import tasks
from bartizan.api import ProblemItem, items
from bartizan.errors import Conflict, DependencyUnavailable, PolicyInvalid
from bartizan.policy.bundle import Bundle
from bartizan.policy.canonical import canonical, plan_hash
from bartizan.policy.effective import Effective, effective_policy
from bartizan.policy.validate import Mesh, Written, invalid, read_mesh, read_policy
from bartizan.telemetry.tracing import step
from control_plane.compile.bundle import compile_bundle
from control_plane.policies.actor import Actor
from control_plane.policies.revisions import plain
from control_plane.policies.warnings import warnings_of
from control_plane.store.base import InEffectRow, Origin, PolicyRow, PublicationRow
from protos.gen.bartizan.policy.v1 import policy_pb2


class Signer(Protocol):
    """Signs bundles (Vault transit in production)."""

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        """(key id, Ed25519 signature of signing_input(payload)). Raises DependencyUnavailable."""
        ...


class PolicyChanged(Protocol):
    """Tells the push side that a policy's newest publication changed or that the policy is gone."""

    async def __call__(self, name: str, row: PublicationRow | None = None, document: str = "", /) -> None:
        """row, document: that publication and its revision, where they are at hand and need not be read."""
        ...


_ELSEWHERE: Mapping[Origin, str] = {
    "kubernetes": "{} is kept in Kubernetes and can only be read here: change the {} object",
    "api": "{} is kept in the control plane: delete it there, or give the object another name",
}


class KeptElsewhere(Conflict):
    """The policy's document is kept in another place (API, cluster) and can only be changed there."""


class PreconditionFailed(Conflict):
    """If-Match named another revision than the newest one."""


def check_origin(known: PolicyRow | None, actor: Actor) -> None:
    """Raises KeptElsewhere when this caller may only read the policy."""
    if known is not None and known.deleted_at is None and known.origin != actor.origin:
        kind = "ModelPolicy" if known.namespace else "MeshPolicy"
        raise KeptElsewhere(_ELSEWHERE[known.origin].format(known.name, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class InEffect:
    """The MeshPolicies that hold now. versions: by name, to see whether they still do when something is stored."""

    meshes: tuple[Mesh, ...] = ()
    versions: Mapping[str, int]

    def without(self, name: str) -> tuple[Mesh, ...]:
        return tuple(each for each in self.meshes if each.policy.name != name)


_TURN_SECONDS = 30.0
"""So long a change waits for those before it. Where each of them waits for a Vault that does not answer, the last of a
queue would be carried out when whoever asked for it has long been told that it took too long."""


class Publishing:
    """What makes a change possible, and whose turn it is."""

    def __init__(self, signer: Signer, clock: Callable[[], float]) -> None:
        self._signer = signer
        self._clock = clock
        # A hostile document takes seconds: off the loop, and never more than a few at once.
        self._parsers = asyncio.Semaphore(2)
        # One lock: applying is rare and short, and conflicts are between policies.
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Policies of any kind change one after the other. Raises DependencyUnavailable: too many are before this one."""
        try:
            async with tasks.timeout(_TURN_SECONDS):
                await self._lock.acquire()
        except TimeoutError:
            raise DependencyUnavailable(
                "changes before this one take too long; nothing of it was done", retry_after=5.0
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    async def read(self, text: bytes) -> Written:
        """A document of either kind, not yet judged. Raises PolicyInvalid when it can't be read."""
        async with self._parsers:
            with step("policy.read"):
                return await asyncio.to_thread(read_policy, text)

    async def judge(self, written: Written, meshes: Sequence[Mesh]) -> Effective:
        """Raises PolicyInvalid with every problem, each with document and path."""
        async with self._parsers:
            with step("policy.validate"):
                return await asyncio.to_thread(effective_policy, written, meshes)

    async def judge_mesh(self, written: Written) -> Mesh:
        """Raises PolicyInvalid with every problem that the document has alone."""
        async with self._parsers:
            with step("policy.validate"):
                return await asyncio.to_thread(read_mesh, written)

    async def warnings(self, written: Written, effective: Effective) -> tuple[ProblemItem, ...]:
        """What may not be meant in it."""
        async with self._parsers:
            return items(await asyncio.to_thread(warnings_of, written, effective))

    async def compile(self, effective: Effective, *, revision: int, version: int) -> Bundle:
        """Raises PolicyInvalid with document and path of every part that does not fit."""
        issued = dt.datetime.fromtimestamp(self._clock(), dt.UTC).isoformat(timespec="seconds")
        with step("policy.compile"):
            try:
                return await asyncio.to_thread(
                    compile_bundle, effective.policy, revision=revision, version=version, issued_at=issued
                )
            except PolicyInvalid as refusal:
                raise PolicyInvalid(refusal.summary, effective.traced(refusal.problems)) from None

    async def prepare(
        self, effective: Effective, revision: int, version: int, actor: Actor
    ) -> PublicationRow:
        """Compiled and signed. Raises PolicyInvalid, DependencyUnavailable (no signature to be had)."""
        bundle = await self.compile(effective, revision=revision, version=version)
        payload = canonical(bundle)
        with step("policy.sign"):
            key_id, signature = await self._signer.sign(payload)
        name = effective.policy.qualified_name
        message = policy_pb2.SignedBundle(name=name, payload=payload, key_id=key_id, signature=signature)
        return PublicationRow(
            policy=name,
            version=version,
            revision=revision,
            bundle=message.SerializeToString(deterministic=True),
            key_id=key_id,
            plan_hash=plan_hash(bundle.plan),
            published_at=self._clock(),
            published_by=actor.label,
        )


def written_of(document: str) -> Written:
    """A stored revision as somebody wrote it, whatever release stored it."""
    return Written(document=plain(document))


def in_effect(rows: Sequence[InEffectRow]) -> InEffect:
    """Raises PolicyInvalid when this release can't read one: without it nothing may be published."""
    return InEffect(
        meshes=tuple(mesh_of(row.document) for row in rows),
        versions={row.name: row.version for row in rows},
    )


@functools.lru_cache(maxsize=64)
def mesh_of(document: str) -> Mesh:
    """A stored MeshPolicy. Raises PolicyInvalid that names it when this release no longer accepts it."""
    written = written_of(document)
    try:
        return read_mesh(written)
    except PolicyInvalid as refusal:
        name = f"MeshPolicy {written.document.get('metadata', {}).get('name', '')}"
        raise invalid(replace(each, document=name) for each in refusal.problems) from None
