"""Names of workloads (SPIFFE ids), what a sidecar must know out of band (TrustDocument), and join tokens.

Shared by both sides: the control plane issues, the agent reads. No I/O and no cryptography beyond hashing.
Source: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass

import msgspec

from bartizan.errors import IdentityRefused

_SEGMENT = r"[A-Za-z0-9._-]{1,253}"
_WORKLOAD = re.compile(
    rf"^spiffe://(?P<td>[a-z0-9._-]{{1,253}})/ns/(?P<ns>{_SEGMENT})/sa/(?P<sa>{_SEGMENT})$"
)
TOKEN_PREFIX = "bzj1."


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadId:
    """spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @classmethod
    def parse(cls, text: str) -> WorkloadId:
        """Raises IdentityRefused for anything that is not a workload's id."""
        match = _WORKLOAD.match(text)
        if match is None:
            raise IdentityRefused(
                f"not a workload's SPIFFE id: {text!r}; expected spiffe://TRUST-DOMAIN/ns/NS/sa/NAME"
            )
        return cls(trust_domain=match["td"], namespace=match["ns"], service_account=match["sa"])


def control_plane_id(trust_domain: str) -> str:
    """The SPIFFE id of every control-plane replica."""
    return f"spiffe://{trust_domain}/control-plane"


class TrustDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What a sidecar must learn out of band: roots of the CA (PEM) and keys that sign bundles.

    verification_keys maps a key id (bartizan.policy.signing.key_id) to the base64 of the raw Ed25519 public key.
    """

    trust_domain: str
    roots: tuple[str, ...]
    verification_keys: dict[str, str]

    def encode(self) -> bytes:
        """Canonical JSON: the same document always gives the same bytes."""
        return msgspec.json.encode(self, order="deterministic")

    def digest(self) -> str:
        """Hex SHA-256 of the canonical bytes: what a join token carries."""
        return hashlib.sha256(self.encode()).hexdigest()


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """Lets one sidecar attest once. It names where to go and the digest of the trust document to expect there."""

    secret: str
    api: str
    grpc: str
    attest: str
    trust: str

    def encode(self) -> str:
        """ "bzj1." + base64url of JSON, one word for command lines and files."""
        return TOKEN_PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> JoinToken:
        """Raises IdentityRefused when the text is no join token; the message never repeats it."""
        body = text.strip().removeprefix(TOKEN_PREFIX)
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=cls)
        except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise IdentityRefused("not a join token: it starts with bzj1. and is one line") from error


def new_secret() -> str:
    """256 random bits, base64url."""
    return secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """Hex SHA-256; enough for 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()
