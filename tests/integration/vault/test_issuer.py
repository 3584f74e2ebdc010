"""Certificates from the in-memory intermediate that a real OpenBao signed, judged by OpenSSL, gRPC and our verifier."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bartizan import tasks
from bartizan.errors import DependencyUnavailable, IdentityRefused, InvalidInput, SignatureInvalid
from bartizan.identity import control_plane_id
from bartizan.policy.keyset import KeyRecord, KeySet
from bartizan.policy.signing import verify_key_set
from bartizan.tls import CertificateSource, KeyMaterial, make_csr, new_key
from control_plane.identity import x509_profiles as profiles
from control_plane.identity.issuer import Issuer
from control_plane.secrets.vault import Vault

TD = "prod.example"
WORKLOAD = f"spiffe://{TD}/ns/prod/sa/chat"
HOUR = dt.timedelta(hours=1)


@pytest.fixture
async def issuer(vault: Vault) -> Issuer:
    made = Issuer(vault, trust_domain=TD, hosts=("cp.example",), source=CertificateSource())
    await made.start()
    return made


def pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM).decode()


def openssl_accepts(tmp_path: Path, chain: tuple[bytes, ...], root: bytes) -> bool:
    (tmp_path / "root.pem").write_text(pem(root))
    (tmp_path / "above.pem").write_text("".join(map(pem, chain[1:])))
    (tmp_path / "leaf.pem").write_text(pem(chain[0]))
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "above.pem",
        "leaf.pem",
    ]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False).returncode == 0


async def test_a_workloads_certificate_names_only_its_spiffe_id_whatever_the_request_says(
    issuer: Issuer, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=admin"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("evil.example")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    issued = issuer.issue(greedy, WORKLOAD, HOUR)
    leaf = x509.load_der_x509_certificate(issued.chain[0])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(WORKLOAD)]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "admin" not in leaf.subject.rfc4514_string()
    assert leaf.public_key() == key.public_key()
    assert HOUR.total_seconds() - 5 < issued.ttl <= HOUR.total_seconds()
    assert leaf.not_valid_before_utc < dt.datetime.now(dt.UTC) - dt.timedelta(minutes=4)
    assert openssl_accepts(tmp_path, issued.chain, issued.roots[0])


async def test_the_intermediate_can_issue_only_leaves_of_its_trust_domain(
    issuer: Issuer, tmp_path: Path
) -> None:
    issued = issuer.issue(make_csr(new_key()), WORKLOAD, HOUR)
    above = x509.load_der_x509_certificate(issued.chain[1])
    assert above.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert above.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    limits = above.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert limits.value.permitted_subtrees == [
        x509.UniformResourceIdentifier(TD),
        x509.DNSName("localhost"),
        x509.DNSName("cp.example"),
    ]
    authority = issuer._authority
    assert authority is not None
    foreign = profiles.leaf(
        key=ec.generate_private_key(ec.SECP256R1()).public_key(),
        uri="spiffe://other.example/ns/prod/sa/chat",
        hosts=(),
        issuer=authority.certificate,
        issuer_key=authority.key,
        now=dt.datetime.now(dt.UTC),
        until=dt.datetime.now(dt.UTC) + HOUR,
    )
    chain = (foreign.public_bytes(serialization.Encoding.DER), issued.chain[1])
    assert not openssl_accepts(tmp_path, chain, issued.roots[0])


async def test_only_workloads_of_the_own_trust_domain_get_certificates(issuer: Issuer) -> None:
    for name in ("spiffe://other.example/ns/a/sa/b", control_plane_id(TD), "https://prod.example/"):
        with pytest.raises(IdentityRefused):
            issuer.issue(make_csr(new_key()), name, HOUR)


def _weak() -> bytes:
    return _request(rsa.generate_private_key(65537, 1024))  # noqa: S505


def _request(key: Any) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _tampered() -> bytes:
    good = bytearray(make_csr(new_key()))
    good[-3] ^= 1
    return bytes(good)


@pytest.mark.parametrize(
    "request_der",
    [
        b"",
        b"\x30\x03abc",
        bytes(20_000),
        _weak(),
        _request(ec.generate_private_key(ec.SECP521R1())),
        _tampered(),
    ],
    ids=["empty", "no_der", "too_long", "rsa_1024", "p521", "bad_signature"],
)
def test_a_bad_request_is_refused(request_der: bytes) -> None:
    with pytest.raises(InvalidInput):
        profiles.subject_key(request_der)


async def test_the_servers_own_certificate_names_every_address_clients_use(issuer: Issuer) -> None:
    material = issuer._source.current
    material.check()
    assert material.spiffe_id == control_plane_id(TD)
    names = material.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "cp.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


async def test_a_signed_key_set_is_verified_with_the_roots_alone(issuer: Issuer) -> None:
    record = KeyRecord(id="k1", hash="0" * 64, tenant="acme")
    message = issuer.sign_key_set(KeySet(name="chat", version=3, keys=(record,)))
    chain, roots = list(message.chain), issuer.roots_pem
    assert verify_key_set("chat", message.payload, message.signature, chain, roots, TD).version == 3
    with pytest.raises(SignatureInvalid):
        verify_key_set("chat", message.payload + b" ", message.signature, chain, roots, TD)


async def test_issuing_goes_on_while_vault_is_away_and_renewal_fails_without_harm(
    server: Any, vault: Vault, issuer: Issuer
) -> None:
    await server.arun(server.bao.kill())
    try:
        assert issuer.issue(make_csr(new_key()), WORKLOAD, HOUR).ttl > 3000
        with pytest.raises(DependencyUnavailable):
            await issuer.renew()
        assert issuer.ready
        assert issuer.issue(make_csr(new_key()), WORKLOAD, HOUR).ttl > 3000
    finally:
        await server.arun(server.bao.start())


async def test_nothing_is_issued_from_an_intermediate_that_has_ended(vault: Vault) -> None:
    ahead = [dt.timedelta(0)]
    issuer = Issuer(
        vault,
        trust_domain=TD,
        hosts=(),
        source=CertificateSource(),
        now=lambda: dt.datetime.now(dt.UTC) + ahead[0],
    )
    assert not issuer.ready
    await issuer.start()
    ahead[0] = dt.timedelta(hours=23, minutes=50)
    assert issuer.issue(make_csr(new_key()), WORKLOAD, HOUR).ttl <= 600
    ahead[0] = dt.timedelta(hours=25)
    assert not issuer.ready
    with pytest.raises(DependencyUnavailable):
        issuer.issue(make_csr(new_key()), WORKLOAD, HOUR)


async def test_after_a_suspend_the_intermediate_is_renewed_within_a_minute(vault: Vault) -> None:
    """Sleeping is by a clock that stands still meanwhile: only the wall clock shows that half a life has gone."""
    suspended = dt.timedelta()
    asked: list[float] = []
    renewed = asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal suspended
        asked.append(seconds)
        if renewed.is_set():
            await asyncio.Event().wait()
        if len(asked) == 2:
            suspended = dt.timedelta(hours=14)

    class Source(CertificateSource):
        def replace(self, material: KeyMaterial) -> None:
            if asked:
                renewed.set()
            super().replace(material)

    issuer = Issuer(
        vault,
        trust_domain=TD,
        hosts=(),
        source=Source(),
        now=lambda: dt.datetime.now(dt.UTC) + suspended,
        sleep=sleep,
    )
    await issuer.start()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = tasks.start(group, issuer.run(), name="issuer")
        await renewed.wait()
        await tasks.cancel(running)
    assert asked[:2] == [1.0, 60.0]


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("cp.example", True),
        ("localhost", True),
        ("127.0.0.1", True),
        ("evil.example", False),
    ],
)
async def test_the_intermediate_can_vouch_for_our_own_host_names_only(
    issuer: Issuer, tmp_path: Path, host: str, accepted: bool
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = control_plane_id(TD)
    issued = issuer._issue(key.public_key(), name, (host,), HOUR)  # what a thief of its key could sign
    assert openssl_accepts(tmp_path, issued.chain, issued.roots[0]) is accepted
