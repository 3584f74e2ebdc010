"""Sidecars, secrets and evidence, as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bartizan.api.base import (
    MAX_JOIN_SECONDS,
    Answer,
    Ask,
)


class NewJoinToken(Ask, frozen=True):
    spiffe_id: Annotated[str, Meta(max_length=512)]
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    ttl_seconds: Annotated[int, Meta(ge=1, le=MAX_JOIN_SECONDS)] = MAX_JOIN_SECONDS


class IssuedJoinToken(Answer, frozen=True):
    """The only time that the token is shown."""

    token: str
    expires_at: float
    id: str = ""


class JoinTokenInfo(Answer, frozen=True):
    id: str
    spiffe_id: str
    labels: dict[str, str]
    created_at: float
    created_by: str
    expires_at: float


class JoinTokenList(Answer, frozen=True):
    """Those that nobody has used yet and that have not ended."""

    join_tokens: tuple[JoinTokenInfo, ...]


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
    """The oldest first; `cursor` leads to the next page, "" at the end."""

    instances: tuple[InstanceInfo, ...]
    cursor: str = ""


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
    """phase: none, or a phase of the rotation protocol. finished: nothing is under way. error: a constant word."""

    secret: str
    phase: str
    finished: bool
    from_generation: int = 0
    to_generation: int = 0
    waiting_for: tuple[str, ...] = ()
    error: str = ""
    updated_at: float = 0.0


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
    """Newest first; `cursor` leads to the next page, "" at the end."""

    events: tuple[AdminEventInfo, ...]
    cursor: str = ""
