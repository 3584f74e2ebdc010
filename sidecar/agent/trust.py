"""What this sidecar trusts before anybody spoke to it: the trust document, from a mounted file or by its digest.

A join token carries the document's SHA-256, so it may be fetched over TLS that nobody verified: a changed document
has another digest.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import msgspec

from bartizan.errors import DependencyUnavailable, IdentityRefused, TrustError
from bartizan.identity import JoinToken, TrustDocument
from sidecar.agent.lean_aiohttp import aiohttp

MAX_BYTES = 1024 * 1024
TIMEOUT = 5.0


def read_trust_file(path: Path) -> TrustDocument:
    """Raises TrustError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrustDocument)
    except OSError as error:
        raise TrustError(f"trust file {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TrustError(f"trust file {path} is no trust document: {error}") from error


def read_join_token(path: Path) -> JoinToken:
    """Raises IdentityRefused."""
    try:
        return JoinToken.decode(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityRefused(f"join token file {path}: {type(error).__name__}") from error


def read_pod_token(path: Path) -> str:
    """The projected service-account token. Raises IdentityRefused; the message never repeats it."""
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityRefused(f"pod token file {path}: {type(error).__name__}") from error
    if not token:
        raise IdentityRefused(f"pod token file {path} is empty")
    return token


async def fetch_trust(api: str, digest: str) -> TrustDocument:
    """The document at <api>/v1/trust, if it is the one that the digest names.

    Raises DependencyUnavailable while it can't be fetched, TrustError when it is another one.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session,
            # the digest is the check; a certificate would be one of the CA that is only now learnt
            session.get(f"{api}/v1/trust", ssl=False, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise DependencyUnavailable(f"trust document: HTTP {response.status}")
            # One read gives only what has arrived.
            raw = bytearray()
            async for piece in response.content.iter_any():
                raw += piece
                if len(raw) > MAX_BYTES:
                    raise TrustError("the control plane's trust document is too long")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DependencyUnavailable(f"trust document: {type(error).__name__}") from error
    try:
        document = msgspec.json.decode(raw, type=TrustDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TrustError("the control plane's trust document can't be read") from error
    if not hmac.compare_digest(document.digest(), digest) and not hmac.compare_digest(
        hashlib.sha256(raw).hexdigest(), digest
    ):
        raise TrustError("the control plane's trust document is not the one that the join token names")
    return document
