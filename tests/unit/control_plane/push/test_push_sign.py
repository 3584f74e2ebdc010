"""Signatures come from the named key version, verify under their key id, and a wrong one is never handed on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.errors import DependencyRefused, InvalidInput
from bartizan.policy.signing import key_id, signing_input
from control_plane.push.sign import FileSigner, Signer, TransitSigner


class Transit:
    """The two calls of a secret backend that a signer uses, with real keys."""

    def __init__(self) -> None:
        self.keys = {1: ed25519.Ed25519PrivateKey.generate()}
        self.lies = False

    async def transit_sign(self, key: str, data: bytes, key_version: int | None = None) -> bytes:
        assert key == "signing"
        assert key_version is not None
        return self.keys[key_version].sign(b"other" if self.lies else data)

    async def transit_public_keys(self, key: str) -> Mapping[int, bytes]:
        return {version: each.public_key().public_bytes_raw() for version, each in self.keys.items()}


async def check(signer: Signer) -> str:
    name, signature = await signer.sign(b"payload")
    public = (await signer.public_keys())[name]
    assert key_id(public) == name
    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, signing_input(b"payload"))
    return name


async def test_a_newer_key_version_is_used_only_after_a_refresh() -> None:
    transit = Transit()
    signer = TransitSigner(transit, "signing")  # type: ignore[arg-type]  # only two of the calls
    first = await check(signer)
    transit.keys[2] = ed25519.Ed25519PrivateKey.generate()
    assert await check(signer) == first
    await signer.refresh()
    assert await check(signer) != first
    assert first in await signer.public_keys()


async def test_a_signature_that_does_not_verify_is_refused() -> None:
    transit = Transit()
    transit.lies = True
    with pytest.raises(DependencyRefused, match="not valid"):
        await TransitSigner(transit, "signing").sign(b"payload")  # type: ignore[arg-type]


async def test_a_key_file_signs(tmp_path: Path) -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    await check(FileSigner(tmp_path / "key.pem"))
    with pytest.raises(InvalidInput):
        FileSigner(tmp_path / "missing.pem")
