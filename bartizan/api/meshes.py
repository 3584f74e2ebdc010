"""MeshPolicies and effective policies, as the API shows them."""

from __future__ import annotations

from typing import Any, Literal

from bartizan.api.base import Answer


class MeshSummary(Answer, frozen=True):
    """revision: the newest one; published_revision and version: what is in effect (0: nothing).

    endpoints: names of the policies that this touches. origin: where the document is kept and changed.
    """

    name: str
    revision: int
    published_revision: int
    version: int
    endpoints: tuple[str, ...]
    created_at: float
    created_by: str
    origin: Literal["api", "kubernetes"] = "api"


class MeshDetail(MeshSummary, frozen=True, kw_only=True):
    document: dict[str, Any]


class MeshList(Answer, frozen=True):
    policies: tuple[MeshSummary, ...]


class MeshEndpoint(Answer, frozen=True):
    """A policy that is touched: how many of its sidecars proved its newest version, which has the MeshPolicy in it.

    enforced: all of them did, and there is one. settled: nothing is pending that comes by itself.
    """

    name: str
    version: int
    enforced_count: int
    total: int
    enforced: bool
    settled: bool


class MeshStatus(Answer, frozen=True):
    """enforced_count of total endpoints are proven. version is the one in effect, 0 for none."""

    name: str
    revision: int
    version: int
    enforced_count: int
    total: int
    endpoints: tuple[MeshEndpoint, ...]

    @property
    def enforced(self) -> bool:
        """At least one endpoint, and all of them."""
        return self.total > 0 and self.enforced_count == self.total

    @property
    def settled(self) -> bool:
        return all(one.settled for one in self.endpoints)

    @property
    def summary(self) -> str:
        return f"{self.enforced_count}/{self.total}"


class FieldOrigin(Answer, frozen=True):
    """Where the value at `path` of the effective document was written: kind, document, and the path in that one."""

    path: str
    kind: Literal["override", "policy", "default"]
    document: str
    written_at: str


class EffectivePolicy(Answer, frozen=True):
    """What holds at an endpoint. meshes: the MeshPolicies that touch it, strongest first."""

    name: str
    document: dict[str, Any]
    meshes: tuple[str, ...]
    origins: tuple[FieldOrigin, ...]
