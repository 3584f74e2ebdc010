"""The listener's certificate files: found below the certificate folder, linted, read again when they change.

Envoy accepts expired and even unusable certificates; so a pair is checked here before Envoy ever sees it. A policy
names files by plain names; Kubernetes' symlinks inside the folder are followed, nothing outside of it is read.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import TlsSource

CERT_PATH = "spec.listener.tls.cert"
KEY_PATH = "spec.listener.tls.key"
MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePair:
    """A linted chain and key (PEM)."""

    name: str
    chain: bytes
    key: bytes
    leaf_sha256: bytes
    """Of the leaf's DER: what the probe expects to be served."""
    not_after: dt.datetime

    def __repr__(self) -> str:
        return f"CertificatePair(name={self.name!r}, leaf_sha256={self.leaf_sha256.hex()!r})"

    @property
    def generation(self) -> str:
        return self.leaf_sha256.hex()[:16]


def read_pair(folder: Path, source: TlsSource, now: dt.datetime | None = None) -> CertificatePair:
    """Raises ResourceRejected with the document path of the field whose file is missing or wrong."""
    chain = read_file(folder, source.cert, CERT_PATH)
    key_pem = read_file(folder, source.key, KEY_PATH)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise ResourceRejected("certificate_unreadable", CERT_PATH) from None
    leaf = certificates[0]
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ResourceRejected("key_unreadable", KEY_PATH) from None
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != leaf.public_key().public_bytes(*spki):
        raise ResourceRejected("key_does_not_match_certificate", KEY_PATH)
    moment = now or dt.datetime.now(dt.UTC)
    if moment > leaf.not_valid_after_utc:
        raise ResourceRejected("certificate_expired", CERT_PATH)
    if moment < leaf.not_valid_before_utc:
        raise ResourceRejected("certificate_not_yet_valid", CERT_PATH)
    return CertificatePair(
        name=source.name,
        chain=chain,
        key=key_pem,
        leaf_sha256=leaf.fingerprint(hashes.SHA256()),
        not_after=leaf.not_valid_after_utc,
    )


def read_file(folder: Path, reference: str, path: str) -> bytes:
    """What stands in "file:NAME". Raises ResourceRejected with `path`, the field that names it."""
    name = reference.removeprefix("file:")
    if not name or Path(name).name != name:
        raise ResourceRejected("file_outside_certificate_folder", path)
    try:
        root = folder.resolve(strict=True)
        target = (root / name).resolve(strict=True)
    except (OSError, RuntimeError):
        raise ResourceRejected("file_missing", path) from None
    if not target.is_relative_to(root):
        raise ResourceRejected("file_outside_certificate_folder", path)
    try:
        if not target.is_file() or target.stat().st_size > MAX_BYTES:
            raise ResourceRejected("file_unreadable", path)
        return target.read_bytes()
    except OSError:
        raise ResourceRejected("file_unreadable", path) from None
