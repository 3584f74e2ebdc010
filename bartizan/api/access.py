"""Who may call: API keys, join tokens and admin tokens, as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bartizan.api.base import (
    MAX_TOKEN_SECONDS,
    Answer,
    Ask,
    OptionalText,
    RoleName,
    ShortText,
)


class KeySetInfo(Answer, frozen=True):
    """keys: how many are not revoked. cause: of its version: created, issued or revoked, with when and by whom."""

    name: str
    version: int
    keys: int
    cause: str = ""
    changed_at: float = 0.0
    changed_by: str = ""


class KeySetStatus(Answer, frozen=True):
    """Who provably uses the newest version of a set. behind: instance ids, silent ones too; they may accept revoked keys."""

    name: str
    version: int
    total: int
    behind: tuple[str, ...] = ()


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
    """The oldest first; `cursor` leads to the next page, "" at the end."""

    name: str
    version: int
    keys: tuple[KeyInfo, ...]
    cursor: str = ""


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
