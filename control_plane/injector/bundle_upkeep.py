"""The roots by which the API server knows our webhooks, as one `caBundle` for all replicas and rotations. Pure."""

from __future__ import annotations

import base64
import binascii
import copy
import datetime as dt
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

MOST: Final = 64
"""Roots in a bundle. Whoever is pushed out puts its own in again at its next look."""


def merged(existing: str, own: bytes, now: dt.datetime) -> str:
    """Base64 of our roots and of all others that are still valid, newest first; own: PEM."""
    ours = x509.load_pem_x509_certificates(own)
    known = {each.public_bytes(Encoding.DER): each for each in [*ours, *_readable(existing)]}
    valid = [each for each in known.values() if each.not_valid_after_utc > now]
    first = {each.public_bytes(Encoding.DER) for each in ours}
    ordered = sorted(
        valid,
        key=lambda each: (
            each.public_bytes(Encoding.DER) not in first,
            -each.not_valid_before_utc.timestamp(),
            each.public_bytes(Encoding.DER),
        ),
    )[:MOST]
    # In an order that does not depend on whose own they are, so that replicas don't rewrite it for ever.
    ordered.sort(key=lambda each: (-each.not_valid_before_utc.timestamp(), each.public_bytes(Encoding.DER)))
    return base64.b64encode(b"".join(each.public_bytes(Encoding.PEM) for each in ordered)).decode()


def with_bundle(configuration: dict[str, Any], own: bytes, now: dt.datetime) -> dict[str, Any] | None:
    """The webhook configuration with our roots in every webhook; None when nothing has to change."""
    made = copy.deepcopy(configuration)
    for webhook in made.get("webhooks") or []:
        client = webhook.setdefault("clientConfig", {})
        client["caBundle"] = merged(client.get("caBundle") or "", own, now)
    return made if made != configuration else None


def _readable(existing: str) -> list[x509.Certificate]:
    """What somebody else wrote may be anything."""
    try:
        pem = base64.b64decode(existing, validate=True)
        return x509.load_pem_x509_certificates(pem) if pem.strip() else []
    except (ValueError, binascii.Error):
        return []
