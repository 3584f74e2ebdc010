"""Self-signed server certificates for loopback, so that laptop runs speak TLS like production."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bartizan.local.private_file import write_private


def make_server_certificate(folder: Path, *, days: int = 30) -> Path:
    """Write tls.crt and tls.key for localhost into `folder`; returns the certificate's path."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate_file = folder / "tls.crt"
    make_certificate(certificate_file, folder / "tls.key", name="Bartizan on loopback", days=days)
    return certificate_file


def make_certificate(certificate_file: Path, key_file: Path, *, name: str, days: int) -> None:
    """A certificate that is its own root: it protects only this laptop's own listener. The key's file is private."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(key_file, pem.decode())
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
