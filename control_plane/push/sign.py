"""Who signs bundles: Vault's transit engine, whose key never leaves it, or a key file for one machine and tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.errors import DependencyRefused, InvalidInput
from bartizan.policy.signing import LocalSigner, key_id, signing_input
from control_plane.secrets.base import SecretBackend


class Signer(Protocol):
    """Signs bundles; the verification keys reach sidecars out of band, in the trust document."""

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        """(key id, Ed25519 signature of signing_input(payload)). Raises DependencyError."""
        ...

    async def public_keys(self) -> Mapping[str, bytes]:
        """Raw Ed25519 public keys by key id, all that sidecars shall trust. Raises DependencyError."""
        ...


class TransitSigner:
    """Signs with the newest version of a transit key that this process knows.

    The version is named in every call, so that signature and key id belong together also while the key is rotated;
    `refresh` takes a newer version into use, after the sidecars' trust documents hold it.
    """

    def __init__(self, backend: SecretBackend, key: str) -> None:
        self._backend = backend
        self._key = key
        self._versions: Mapping[int, bytes] = {}
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the public keys again. Raises DependencyError."""
        versions = await self._backend.transit_public_keys(self._key)
        if not versions:
            raise DependencyRefused(f"the signing key {self._key} has no public part")
        self._versions = dict(versions)

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        await self._ensure()
        version = max(self._versions)
        public = self._versions[version]
        message = signing_input(payload)
        signature = await self._backend.transit_sign(self._key, message, version)
        try:
            # A signature that sidecars would refuse must not be stored as a publication.
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise DependencyRefused(
                f"the signing key {self._key} made a signature that is not valid"
            ) from None
        return key_id(public), signature

    async def public_keys(self) -> Mapping[str, bytes]:
        await self._ensure()
        return {key_id(public): public for public in self._versions.values()}

    async def _ensure(self) -> None:
        async with self._lock:
            if not self._versions:
                await self.refresh()


class FileSigner:
    """Signs with an Ed25519 key in a PEM file."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidInput when there is no such key."""
        try:
            pem = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"the signing key {path} can't be read: {error.strerror}") from None
        self._signer = LocalSigner(pem)

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        return self._signer.key_id, self._signer.sign(payload)

    async def public_keys(self) -> Mapping[str, bytes]:
        return {self._signer.key_id: self._signer.public_key}
