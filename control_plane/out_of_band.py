"""What sidecars and admission webhooks must know before they can trust a connection: roots, signing keys, join tokens."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from bartizan.identity import JoinToken, TrustDocument
from control_plane.identity.issuer import Issuer
from control_plane.push.sign import TransitSigner
from control_plane.setting_values import Address
from control_plane.settings import Settings


class OutOfBand:
    """The same on every replica: one root, one set of signing keys, one advertised host. Raises DependencyError."""

    def __init__(self, settings: Settings, issuer: Issuer, signer: TransitSigner) -> None:
        self._settings = settings
        self._issuer = issuer
        self._signer = signer

    def roots(self) -> bytes:
        """PEM."""
        return "".join(self._issuer.roots_pem).encode()

    async def trust(self) -> bytes:
        """The trust document's canonical bytes."""
        return (await self._document()).encode()

    async def join_token(self, secret: str, ports: Mapping[str, int]) -> str:
        """The whole token around its secret part."""
        host = str(Address(host=self._settings.advertise, port=0)).rpartition(":")[0]
        return JoinToken(
            secret=secret,
            api=f"https://{host}:{ports['api']}",
            grpc=f"{host}:{ports['grpc']}",
            attest=f"{host}:{ports['attest']}",
            trust=(await self._document()).digest(),
        ).encode()

    async def _document(self) -> TrustDocument:
        keys = await self._signer.public_keys()
        return TrustDocument(
            trust_domain=self._settings.trust_domain,
            roots=self._issuer.roots_pem,
            verification_keys={name: base64.b64encode(raw).decode() for name, raw in keys.items()},
        )
