"""Certificates of a control plane and of those who would like to be one, made for the test."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = dt.datetime(2026, 6, 1, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DOMAIN = "prod.example"
SIGNER = "spiffe://prod.example/control-plane"


@dataclass(frozen=True, kw_only=True)
class Made:
    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names.split()})


def make_certificate(
    name: str,
    issuer: Made | None,
    extensions: list[tuple[x509.ExtensionType, bool]],
    *,
    begins: dt.datetime = NOW - HOUR,
    ends: dt.datetime = NOW + HOUR,
    key: Any = None,
) -> Made:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Made(certificate=builder.sign(issuer.key if issuer else key, hashes.SHA256()), key=key)


def make_ca(name: str, issuer: Made | None, path_length: int | None = None, **more: Any) -> Made:
    extensions = more.pop("extensions", [])
    basic = (x509.BasicConstraints(ca=True, path_length=path_length), True)
    return make_certificate(name, issuer, [basic, (usage(key_cert_sign=True), True), *extensions], **more)


def uri(*names: str) -> tuple[x509.ExtensionType, bool]:
    return (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name) for name in names]), False)


def only(*domains: str) -> tuple[x509.ExtensionType, bool]:
    permitted = [x509.UniformResourceIdentifier(domain) for domain in domains]
    return (x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), True)


def make_leaf(issuer: Made, *names: str, more: Any = (), **other: Any) -> Made:
    extensions = [uri(*(names or (SIGNER,))), (usage(digital_signature=True), True), *more]
    return make_certificate("control plane", issuer, extensions, **other)
