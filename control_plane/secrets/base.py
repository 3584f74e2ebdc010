"""The port to whatever keeps keys and secrets. Everything in the control plane knows this file, only vault.py knows Vault.

Every call has a deadline and fails with DependencyUnavailable (may work later), DependencyRefused (won't), NotFound or
Conflict (compare-and-set lost). None of their messages holds a secret or what the server wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVersion:
    """One version of a key-value secret; the data never shows in a repr."""

    version: int
    data: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMetadata:
    """What is known of a path without reading values. `destroyed` holds versions whose data is gone for good."""

    current_version: int
    versions: tuple[int, ...]
    destroyed: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Result of the last canary write and read. `reason` is constant snake_case, "" when healthy."""

    healthy: bool
    reason: str
    checked_at: float
    """Seconds since the epoch; 0 before the first check."""


class SecretBackend(Protocol):
    """Key-value secrets with compare-and-set, signing keys that never leave, and a CA."""

    @property
    def healthy(self) -> bool: ...
    @property
    def health(self) -> Health: ...

    async def kv_read(self, path: str, version: int | None = None) -> SecretVersion: ...
    async def kv_write(self, path: str, data: Mapping[str, str], cas: int) -> int:
        """Store a new version if the current one is `cas` (0: none yet); returns its number. Else Conflict."""
        ...

    async def kv_metadata(self, path: str) -> SecretMetadata: ...
    async def kv_destroy(self, path: str, version: int) -> None: ...

    async def transit_sign(self, key: str, data: bytes, key_version: int | None = None) -> bytes:
        """Raw Ed25519 signature, 64 bytes; by the newest key version unless one is named."""
        ...

    async def transit_public_keys(self, key: str) -> Mapping[int, bytes]:
        """Raw Ed25519 public keys, 32 bytes each, by key version."""
        ...

    async def pki_sign_intermediate(
        self, csr_pem: str, common_name: str, ttl_seconds: int
    ) -> tuple[str, ...]:
        """The signed CA certificate and those above it without the root, PEM, nearest first.

        Extensions that the CSR asks for (name constraints) are taken over; path length is 0.
        """
        ...

    async def pki_root_pem(self) -> str: ...
    async def renew_self(self) -> float:
        """Renew our own token; returns its new life in seconds."""
        ...
