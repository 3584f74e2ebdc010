"""What our certificates look like: the issuing intermediate's request, and leaves. Pure; used by issuer.py alone."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bartizan.errors import InvalidInput, TrustError

BACKDATE = dt.timedelta(minutes=5)
"""Clocks differ: a certificate is valid from a little before it was made."""
MAX_CSR_BYTES = 16 * 1024

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def subject_key(csr_der: bytes) -> PublicKey:
    """The key of a certificate request, after checking its self-signature and strength.

    Everything else in the request is ignored. Raises InvalidInput.
    """
    if len(csr_der) > MAX_CSR_BYTES:
        raise InvalidInput(f"the certificate request has {len(csr_der)} bytes, more than {MAX_CSR_BYTES}")
    try:
        csr = x509.load_der_x509_csr(csr_der)
        key = csr.public_key()
        valid = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise InvalidInput("not a PKCS#10 certificate request in DER") from None
    if not valid:
        raise InvalidInput("the certificate request's signature does not match its key")
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        case rsa.RSAPublicKey() if 2048 <= key.key_size <= 4096:
            return key
    raise InvalidInput("the request's key must be EC P-256, EC P-384 or RSA of 2048 to 4096 bits")


def intermediate_request(
    key: ec.EllipticCurvePrivateKey, common_name: str, trust_domain: str, hosts: Sequence[str]
) -> str:
    """PEM of the request for an issuing CA that may name URIs of this trust domain and these host names only,
    and issue leaves only.
    """
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=_permitted(trust_domain, hosts), excluded_subtrees=None),
            critical=True,
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


def check_intermediate(
    chain_pem: Sequence[str], key: ec.EllipticCurvePrivateKey, trust_domain: str, hosts: Sequence[str]
) -> x509.Certificate:
    """The issuing certificate as signed. Raises TrustError when it is not what was asked for."""
    certificate = x509.load_pem_x509_certificate(chain_pem[0].encode())
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        names = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound as missing:
        raise TrustError(f"the signed intermediate lacks an extension: {missing.oid.dotted_string}") from None
    if not basic.ca or basic.path_length != 0:
        raise TrustError("the signed intermediate is no CA of path length 0")
    if not names.critical or set(names.value.permitted_subtrees or ()) != set(
        _permitted(trust_domain, hosts)
    ):
        raise TrustError("the signed intermediate is not limited to the trust domain and our host names")
    if certificate.public_key() != key.public_key():
        raise TrustError("the signed intermediate holds another key")
    return certificate


def _permitted(trust_domain: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    """DNS names and URIs. Addresses stay open: BoringSSL, and so gRPC, refuses every chain that constrains those."""
    permitted: list[x509.GeneralName] = [x509.UniformResourceIdentifier(trust_domain)]
    for host in hosts:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            permitted.append(x509.DNSName(host))
    return permitted


def leaf(
    *,
    key: PublicKey,
    uri: str,
    hosts: Sequence[str],
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    until: dt.datetime,
) -> x509.Certificate:
    """A certificate for one SPIFFE id (and host names, for our own servers), for both ends of TLS."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bartizan")]))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATE, issuer.not_valid_before_utc))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_digital_signature(), critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )


def _digital_signature() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
