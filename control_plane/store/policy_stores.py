"""The ports for policies of both kinds; part of control_plane/store/base.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from control_plane.store.rows import (
    InEffectRow,
    MeshPublicationRow,
    Origin,
    PolicyRow,
    PublicationHead,
    PublicationRow,
    RevisionRow,
)

Published = TypeVar("Published", bound=PublicationHead | MeshPublicationRow)
_Published_co = TypeVar("_Published_co", bound=PublicationHead | MeshPublicationRow, covariant=True)


class DocumentStore(Protocol[_Published_co]):
    """Policies of one kind, their revisions and their publications. Lists of these: newest first."""

    async def get(self, name: str) -> PolicyRow | None:
        """Deleted ones, too."""
        ...

    async def all(self) -> Sequence[PolicyRow]: ...
    async def add_revision(
        self, row: RevisionRow, *, origin: Origin = "api", namespace: str = ""
    ) -> None: ...
    async def revision(self, name: str, number: int) -> RevisionRow | None: ...
    async def revisions(
        self, name: str, *, limit: int = 200, before: int | None = None
    ) -> Sequence[RevisionRow]:
        """before: number of the last one seen."""
        ...

    async def publications(
        self, name: str, *, limit: int = 200, before: int | None = None
    ) -> Sequence[_Published_co]:
        """before: version of the last one seen."""
        ...

    async def published(self, name: str = "") -> Sequence[_Published_co]:
        """What is in effect of each policy, or of this one: the newest publication, unless it was deleted after it."""
        ...

    async def revision_before(self, name: str, number: int) -> int | None:
        """The revision that was published last before this one."""
        ...

    async def heads(self) -> Mapping[str, int]:
        """The version in effect of every policy that has one."""
        ...

    async def in_effect(self) -> Sequence[InEffectRow]:
        """The same, with documents."""
        ...

    async def delete(self, name: str, *, at: float) -> None:
        """Waits for other replicas' changes of policies, as `alone` and `hold` do."""
        ...


class PolicyStore(DocumentStore[PublicationHead], Protocol):
    """ModelPolicies."""

    async def all(self, *, namespace: str = "") -> Sequence[PolicyRow]: ...
    async def publish(self, row: PublicationRow) -> None:
        """Raises Conflict unless its version is the one after the newest."""
        ...

    async def publication(self, name: str, version: int) -> PublicationRow | None: ...
    async def alone(self, namespace: str, others: Sequence[tuple[str, str]]) -> None:
        """Until this transaction ends no other one is past this point: of two policies that clash one is stored.

        Raises Conflict when `current_documents` are no longer these.
        """
        ...

    async def current_documents(self, namespace: str) -> Sequence[tuple[str, str]]:
        """Name and document of the newest and of the published revision of each policy that is not deleted."""
        ...


class MeshStore(DocumentStore[MeshPublicationRow], Protocol):
    """MeshPolicies. What they do to endpoints are publications of the endpoints' policies."""

    async def publish(self, row: MeshPublicationRow) -> None:
        """Raises Conflict unless its version is the one after the newest."""
        ...

    async def hold(self, seen: Mapping[str, int]) -> None:
        """Until this transaction ends no other one changes what is in effect.

        seen: names and versions that were in effect when the change was prepared. Raises Conflict when they changed.
        """
        ...
