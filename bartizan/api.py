"""What the REST API says, as types: the control plane encodes them, the client decodes them, OpenAPI shows them.

Decoding ignores unknown fields in answers, so that an older client can talk to a newer control plane; requests are strict.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
ShortText = Annotated[str, Meta(min_length=1, max_length=128)]
OptionalText = Annotated[str, Meta(max_length=64)]
RoleName = Literal["viewer", "author", "operator", "auditor", "admin"]
MAX_TOKEN_SECONDS = 90 * 86400
MAX_JOIN_SECONDS = 600


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the API answers."""


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what the API takes."""


# Errors and health


class ProblemItem(Answer, frozen=True):
    """One thing wrong: where, a constant code, what, and how to mend it."""

    path: str
    code: str
    message: str
    hint: str = ""


class ProblemDetails(Answer, frozen=True):
    """application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    problems: tuple[ProblemItem, ...] = ()


class Health(Answer, frozen=True):
    """`reasons`: constant snake_case words, empty when all is well."""

    status: Literal["ok", "not_ready"]
    reasons: tuple[str, ...] = ()
    version: str = ""


# Policies


class Applied(Answer, frozen=True):
    """version 0: the revision is not published. changed: False when this very document was there already."""

    name: str
    revision: int
    version: int
    changed: bool = True


class Validated(Answer, frozen=True):
    """The document is valid and compiles."""

    name: str
    valid: bool = True


class PolicySummary(Answer, frozen=True):
    """revision: the newest one; published_revision and version: what sidecars are told to enforce (0: nothing)."""

    name: str
    revision: int
    published_revision: int
    version: int
    created_at: float
    created_by: str


class PolicyDetail(PolicySummary, frozen=True):
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
    revisions: tuple[Revision, ...]


class Publication(Answer, frozen=True):
    version: int
    revision: int
    published_at: float
    published_by: str
    plan_hash: str


class PublicationList(Answer, frozen=True):
    publications: tuple[Publication, ...]


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
    """What is proven. version is the wanted one."""

    name: str
    revision: int
    version: int
    enforced_count: int
    total: int
    instances: tuple[InstanceStatus, ...]

    @property
    def enforced(self) -> bool:
        """At least one sidecar, and all of them."""
        return self.total > 0 and self.enforced_count == self.total

    @property
    def settled(self) -> bool:
        """Nothing is pending: every sidecar enforces, refuses or is lost."""
        return self.total > 0 and all(instance.state != "pending" for instance in self.instances)

    @property
    def summary(self) -> str:
        return f"{self.enforced_count}/{self.total}"


# Key sets


class KeySetInfo(Answer, frozen=True):
    name: str
    version: int
    keys: int


class KeySetList(Answer, frozen=True):
    key_sets: tuple[KeySetInfo, ...]


class IssueKey(Ask, frozen=True):
    tenant: ShortText
    plan: OptionalText = ""
    region: OptionalText = ""
    models: Annotated[tuple[ShortText, ...], Meta(max_length=64)] = ()
    ttl_seconds: Annotated[int, Meta(ge=1, le=10 * 366 * 86400)] | None = None


class IssuedKey(Answer, frozen=True):
    """The only time that the key is shown."""

    id: str
    key: str


class KeyInfo(Answer, frozen=True):
    id: str
    tenant: str
    plan: str
    region: str
    models: tuple[str, ...]
    created_at: float
    created_by: str
    expires_at: float | None
    revoked: bool


class KeyList(Answer, frozen=True):
    name: str
    version: int
    keys: tuple[KeyInfo, ...]


# Instances


class NewJoinToken(Ask, frozen=True):
    spiffe_id: Annotated[str, Meta(max_length=512)]
    labels: dict[str, str] = {}
    ttl_seconds: Annotated[int, Meta(ge=1, le=MAX_JOIN_SECONDS)] = MAX_JOIN_SECONDS


class IssuedJoinToken(Answer, frozen=True):
    token: str
    expires_at: float


class InstanceInfo(Answer, frozen=True):
    instance_id: str
    spiffe_id: str
    namespace: str
    labels: dict[str, str]
    created_at: float
    live: bool
    ready: bool
    last_seen: float
    agent_version: str = ""
    envoy_version: str = ""
    policy: str = ""
    policy_version: int = 0
    conditions: tuple[str, ...] = ()


class InstanceList(Answer, frozen=True):
    instances: tuple[InstanceInfo, ...]


# Secrets


class SecretInfo(Answer, frozen=True):
    """A definition, never a value."""

    name: str
    definition: dict[str, Any]
    created_at: float
    created_by: str
    updated_at: float


class SecretList(Answer, frozen=True):
    secrets: tuple[SecretInfo, ...]


class RotationInfo(Answer, frozen=True):
    """phase: none, or a phase of the rotation protocol. finished: nothing is under way."""

    secret: str
    phase: str
    finished: bool
    from_generation: int = 0
    to_generation: int = 0
    waiting_for: tuple[str, ...] = ()
    error: str = ""
    updated_at: float = 0.0


# Audit, tokens


class AuditList(Answer, frozen=True):
    """Newest first; `cursor` leads to the next page, "" at the end."""

    records: tuple[dict[str, Any], ...]
    cursor: str = ""


class AdminEventInfo(Answer, frozen=True):
    time: float
    actor: str
    act: str
    target: str
    detail: dict[str, Any]
    request_id: str
    peer: str


class AdminEventList(Answer, frozen=True):
    events: tuple[AdminEventInfo, ...]


class NewToken(Ask, frozen=True):
    """tenants limits what an auditor may query; empty: all."""

    role: RoleName
    name: ShortText
    ttl_seconds: Annotated[int, Meta(ge=60, le=MAX_TOKEN_SECONDS)] = 12 * 3600
    tenants: Annotated[tuple[ShortText, ...], Meta(max_length=64)] = ()


class IssuedToken(Answer, frozen=True):
    """The only time that the token is shown."""

    id: str
    token: str
    role: str
    expires_at: float


class TokenInfo(Answer, frozen=True):
    id: str
    name: str
    role: str
    tenants: tuple[str, ...]
    created_at: float
    created_by: str
    expires_at: float
    used_at: float | None
    revoked: bool


class TokenList(Answer, frozen=True):
    tokens: tuple[TokenInfo, ...]
