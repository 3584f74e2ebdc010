"""Keys, certificates and the TLS contexts made of them; every context follows a rotation without a restart.

The agent and the control plane hold one CertificateSource each: whoever renews puts new material in, servers take it
for their next connection, clients wait for `changed` and connect anew. Private keys never appear in repr or errors.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import ssl
from dataclasses import dataclass, field

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bartizan.errors import DependencyUnavailable, IdentityRefused, TrustError

_PEM = serialization.Encoding.PEM
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaterial:
    """A private key, its certificate chain (leaf first, no root) and the roots that peers must chain to; all PEM."""

    key_pem: bytes = field(repr=False)
    chain_pem: bytes = field(repr=False)
    roots_pem: bytes = field(repr=False)

    @property
    def leaf(self) -> x509.Certificate:
        """The first certificate of the chain. Raises TrustError when there is none."""
        try:
            return x509.load_pem_x509_certificates(self.chain_pem)[0]
        except ValueError:
            raise TrustError("the certificate chain holds no PEM certificate") from None

    @property
    def not_before(self) -> dt.datetime:
        """When the leaf begins to be valid (UTC)."""
        return self.leaf.not_valid_before_utc

    @property
    def not_after(self) -> dt.datetime:
        """When the leaf ends (UTC)."""
        return self.leaf.not_valid_after_utc

    @property
    def spiffe_id(self) -> str:
        """The leaf's only URI name. Raises IdentityRefused when it has none or several."""
        try:
            names = self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        except x509.ExtensionNotFound:
            uris = []
        if len(uris) != 1:
            raise IdentityRefused(f"expected one URI name in the certificate, found {len(uris)}")
        return uris[0]

    def check(self, now: dt.datetime | None = None) -> None:
        """Raises TrustError when key and leaf don't belong together or the leaf is not valid at `now`."""
        now = now or dt.datetime.now(dt.UTC)
        leaf = self.leaf
        if _load_key(self.key_pem).public_key() != leaf.public_key():
            raise TrustError("the private key does not belong to the certificate")
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            raise TrustError(
                f"the certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} to"
                f" {leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ} only"
            )


class CertificateSource:
    """The current material of this process. `replace` and `changed` belong to the event loop, `current` to anyone."""

    def __init__(self, material: KeyMaterial | None = None) -> None:
        self._material = material
        self._next = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether there is any material."""
        return self._material is not None

    @property
    def current(self) -> KeyMaterial:
        """Raises DependencyUnavailable before the first certificate."""
        if self._material is None:
            raise DependencyUnavailable("there is no certificate yet")
        return self._material

    def replace(self, material: KeyMaterial) -> None:
        """New connections use this material from now on."""
        self._material = material
        announced, self._next = self._next, asyncio.Event()
        announced.set()

    async def changed(self, seen: KeyMaterial | None = None) -> KeyMaterial:
        """The current material as soon as it differs from `seen` (None: as soon as there is any)."""
        while self._material is None or self._material == seen:
            await self._next.wait()
        return self._material


def new_key() -> bytes:
    """A new P-256 private key, PEM (PKCS #8, unencrypted)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def make_csr(key_pem: bytes) -> bytes:
    """A certificate request (DER) that proves possession of the key; who it is for is decided by the issuer."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    key = _load_key(key_pem)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


def channel_credentials(material: KeyMaterial) -> grpc.ChannelCredentials:
    """For gRPC clients of mTLS servers. A channel keeps its certificate: make a new one after a rotation."""
    return grpc.ssl_channel_credentials(material.roots_pem, material.key_pem, material.chain_pem)


def server_credentials(
    source: CertificateSource, trust: bytes | None = None, *, require_client: bool
) -> grpc.ServerCredentials:
    """TLS for a gRPC server, whose every new connection gets the source's current certificate.

    trust: roots for client certificates (default: those of the current material); used with require_client only.
    """
    loaded = source.current

    def configuration(material: KeyMaterial) -> grpc.ServerCertificateConfiguration:
        roots = (trust or material.roots_pem) if require_client else None
        return grpc.ssl_server_certificate_configuration([(material.key_pem, material.chain_pem)], roots)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # called on a thread of gRPC for every new connection; None keeps what is loaded
        nonlocal loaded
        latest = source.current
        if latest is loaded:
            return None
        fresh = configuration(latest)
        loaded = latest
        return fresh

    # the stubs do not know that None is allowed
    return grpc.dynamic_ssl_server_credentials(configuration(loaded), fetch, require_client)  # type: ignore[arg-type]


def ssl_context(source: CertificateSource) -> ssl.SSLContext:
    """TLS 1.2+ for an HTTP server (no client certificates), whose every new connection gets the current certificate."""
    loaded = source.current
    latest = _server_context(loaded)
    entry = _server_context(loaded)

    def choose(
        connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        # OpenSSL calls this after the ClientHello, with or without a server name in it
        nonlocal loaded, latest
        material = source.current
        if material is not loaded:
            latest, loaded = _server_context(material), material
        connection.context = latest

    entry.sni_callback = choose
    return entry


def client_ssl_context(roots_pem: bytes | str, material: KeyMaterial | None = None) -> ssl.SSLContext:
    """TLS 1.2+ for an HTTP client that trusts these roots only; with material it presents a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=roots_pem if isinstance(roots_pem, str) else roots_pem.decode())
    if material is not None:
        _load_chain(context, material)
    return context


def _server_context(material: KeyMaterial) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_chain(context, material)
    return context


def _load_chain(context: ssl.SSLContext, material: KeyMaterial) -> None:
    # the ssl module reads keys from files only: an anonymous file in memory keeps them off every disk
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(material.key_pem + b"\n" + material.chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (ssl.SSLError, OSError) as error:
        raise TrustError(f"key and certificate can't be used: {type(error).__name__}") from None
    finally:
        os.close(descriptor)


def _load_key(key_pem: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise TrustError("not an unencrypted PEM private key") from None
    if not isinstance(key, PrivateKey):
        raise TrustError("not an EC, RSA or Ed25519 private key")
    return key
