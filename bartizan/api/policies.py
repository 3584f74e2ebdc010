"""Policies, revisions, what loosens, and the proven status, as the API shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from bartizan.api.base import (
    Answer,
    Ask,
    ProblemItem,
)

INCAPABLE = "incapable"
"""Begins the reason of a sidecar that keeps its present policy because it can't enforce the wanted one whole."""


class Applied(Answer, frozen=True):
    """version 0: the revision is not published. changed: False when this very document was there already.

    endpoints: of a MeshPolicy, the policies that got a new version by it. warnings: what may not be meant.
    """

    name: str
    revision: int
    version: int
    changed: bool = True
    endpoints: tuple[str, ...] = ()
    warnings: tuple[ProblemItem, ...] = ()


class Validated(Answer, frozen=True):
    """The document is valid and compiles. warnings: what may not be meant."""

    name: str
    valid: bool = True
    warnings: tuple[ProblemItem, ...] = ()


class PolicySummary(Answer, frozen=True):
    """revision: the newest one; published_revision and version: what sidecars are told to enforce (0: nothing).

    origin: where the document is kept and changed; one of Kubernetes can only be read here.
    """

    name: str
    revision: int
    published_revision: int
    version: int
    created_at: float
    created_by: str
    origin: Literal["api", "kubernetes"] = "api"


class PolicyDetail(PolicySummary, frozen=True, kw_only=True):
    document: dict[str, Any]


class PolicyList(Answer, frozen=True):
    policies: tuple[PolicySummary, ...]


class Revision(Answer, frozen=True):
    number: int
    author: str
    reason: str
    created_at: float
    digest: str


class RevisionDetail(Revision, frozen=True):
    document: dict[str, Any]


class RevisionList(Answer, frozen=True):
    """Newest first; `cursor` leads to the next page, "" at the end."""

    revisions: tuple[Revision, ...]
    cursor: str = ""


class Publication(Answer, frozen=True):
    version: int
    revision: int
    published_at: float
    published_by: str
    plan_hash: str


class PublicationList(Answer, frozen=True):
    """Newest first; `cursor` leads to the next page, "" at the end."""

    publications: tuple[Publication, ...]
    cursor: str = ""


class Change(Answer, frozen=True):
    """One difference. `loosens` says in words what is less protected afterwards; "" when nothing is."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None
    loosens: str = ""


class Difference(Answer, frozen=True):
    from_revision: int
    to_revision: int
    changes: tuple[Change, ...]
    loosens: tuple[str, ...]


class Preview(Validated, frozen=True):
    """What publishing a ModelPolicy would change. from_revision: the one that is published, 0 where none is.

    Of a MeshPolicy, and of the first policy of its name, there are no changes to show. uncomparable: nor where the published
    revision has these problems, because this release no longer takes it or because of the MeshPolicies of now.
    """

    from_revision: int = 0
    changes: tuple[Change, ...] = ()
    uncomparable: tuple[ProblemItem, ...] = ()


class RollOut(Ask, frozen=True):
    """Publish this revision under a new version."""

    revision: Annotated[int, Meta(ge=1)]


class InstanceStatus(Answer, frozen=True):
    """enforced: acknowledged, loaded by every worker and proven by probe. reason and path explain the others."""

    instance_id: str
    spiffe_id: str
    state: Literal["enforced", "pending", "refused", "lost"]
    version: int = 0
    revision: int = 0
    reason: str = ""
    path: str = ""
    trace_id: str = ""
    last_seen: float = 0.0


class PolicyStatus(Answer, frozen=True):
    """What is proven. version is the wanted one. Counts are of all instances, which come in pages, sorted by their ids:
    `cursor` leads to the next one, "" at the end.

    unsettled_count: what is pending and comes by itself. Older control planes don't say it, but show all instances.
    """

    name: str
    revision: int
    version: int
    enforced_count: int
    total: int
    instances: tuple[InstanceStatus, ...]
    unsettled_count: int = 0
    cursor: str = ""

    @property
    def enforced(self) -> bool:
        """At least one sidecar, and all of them."""
        return self.total > 0 and self.enforced_count == self.total

    @property
    def settled(self) -> bool:
        """Nothing is pending that comes by itself: every sidecar enforces, refuses, is incapable or lost."""
        shown = any(one.state == "pending" and not one.reason.startswith(INCAPABLE) for one in self.instances)
        return self.total > 0 and not self.unsettled_count and not shown

    @property
    def summary(self) -> str:
        return f"{self.enforced_count}/{self.total}"


class EndpointInfo(Answer, frozen=True):
    """A guarded model. enforced_count of total sidecars provably enforce the published version.

    key_set: the one whose API keys it takes, "" where it takes none. problem: why this release can't read the policy,
    "" when it can; nothing but names and numbers is told then.
    """

    policy: str
    model: str
    protocol: str
    listen: str
    tenants: tuple[str, ...]
    authn: tuple[str, ...]
    mode: str
    version: int
    enforced_count: int
    total: int
    key_set: str = ""
    problem: str = ""


class EndpointList(Answer, frozen=True):
    endpoints: tuple[EndpointInfo, ...]
