"""Certificates in use: rotations reach new connections, and private keys reach nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519

from bartizan.errors import DependencyUnavailable, IdentityRefused, TrustError
from bartizan.tls import (
    CertificateSource,
    KeyMaterial,
    channel_credentials,
    client_ssl_context,
    make_csr,
    new_key,
    server_credentials,
    ssl_context,
)

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
SPIFFE = "spiffe://prod.example/ns/web/sa/shop"
_PEM = serialization.Encoding.PEM


class Authority:
    """A root that issues leaves."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test root")])
        self.certificate = self._sign(
            self.key.public_key(), self.name, [(x509.BasicConstraints(ca=True, path_length=0), True)]
        )

    def issue(
        self,
        *,
        uris: tuple[str, ...] = (SPIFFE,),
        ends: dt.datetime = NOW + dt.timedelta(hours=1),
        key_pem: bytes | None = None,
    ) -> KeyMaterial:
        key_pem = key_pem or new_key()
        request = x509.load_der_x509_csr(make_csr(key_pem))
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        leaf = self._sign(key, x509.Name([]), [(x509.SubjectAlternativeName(names), True)], ends)
        return KeyMaterial(
            key_pem=key_pem,
            chain_pem=leaf.public_bytes(_PEM),
            roots_pem=self.certificate.public_bytes(_PEM),
        )

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        extensions: list[tuple[x509.ExtensionType, bool]],
        ends: dt.datetime = NOW + dt.timedelta(hours=1),
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(hours=1))
            .not_valid_after(ends)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())


AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.issue(), AUTHORITY.issue()


def _der(material: KeyMaterial) -> bytes:
    return material.leaf.public_bytes(serialization.Encoding.DER)


def test_material_tells_its_identity_and_its_end() -> None:
    assert FIRST.spiffe_id == SPIFFE
    assert FIRST.not_after == NOW + dt.timedelta(hours=1)
    assert FIRST.not_before == NOW - dt.timedelta(hours=1)


@pytest.mark.parametrize("uris", [(), (SPIFFE, "spiffe://prod.example/ns/web/sa/other")])
def test_a_certificate_without_exactly_one_uri_has_no_identity(uris: tuple[str, ...]) -> None:
    with pytest.raises(IdentityRefused):
        _ = AUTHORITY.issue(uris=uris).spiffe_id


def test_private_keys_are_not_in_repr_or_errors() -> None:
    secret = FIRST.key_pem.split(b"\n")[1].decode()
    assert secret not in repr(FIRST)
    broken = KeyMaterial(key_pem=FIRST.key_pem[:-40], chain_pem=FIRST.chain_pem, roots_pem=b"")
    for use in (
        broken.check,
        lambda: make_csr(broken.key_pem),
        lambda: ssl_context(CertificateSource(broken)),
    ):
        with pytest.raises(TrustError) as refusal:
            use()
        assert secret not in str(refusal.value)
        assert refusal.value.__suppress_context__


def test_sound_material_passes_its_check() -> None:
    FIRST.check()


@pytest.mark.parametrize("now", [NOW - dt.timedelta(hours=2), NOW + dt.timedelta(hours=2)])
def test_material_outside_of_its_time_is_refused(now: dt.datetime) -> None:
    with pytest.raises(TrustError, match="valid from"):
        FIRST.check(now)


def test_a_key_of_another_certificate_is_refused() -> None:
    mixed = KeyMaterial(key_pem=SECOND.key_pem, chain_pem=FIRST.chain_pem, roots_pem=FIRST.roots_pem)
    with pytest.raises(TrustError, match="does not belong"):
        mixed.check()
    with pytest.raises(TrustError):
        ssl_context(CertificateSource(mixed))


def test_a_chain_without_certificate_is_refused() -> None:
    with pytest.raises(TrustError):
        _ = KeyMaterial(key_pem=FIRST.key_pem, chain_pem=b"", roots_pem=b"").leaf


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()],
    ids=["rsa", "ed25519"],
)
def test_keys_of_other_common_kinds_can_ask_for_certificates(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    pem = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert x509.load_der_x509_csr(make_csr(pem)).public_key() == key.public_key()


def test_keys_that_can_not_sign_are_refused() -> None:
    key = x25519.X25519PrivateKey.generate()
    pem = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(TrustError, match="EC, RSA or Ed25519"):
        make_csr(pem)


def test_a_request_proves_possession_of_its_key() -> None:
    request = x509.load_der_x509_csr(make_csr(FIRST.key_pem))
    assert request.is_signature_valid
    assert request.public_key() == FIRST.leaf.public_key()


async def test_an_empty_source_says_so_and_waits_for_the_first_certificate() -> None:
    source = CertificateSource()
    assert not source.ready
    with pytest.raises(DependencyUnavailable):
        _ = source.current
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(source.changed())
        await asyncio.sleep(0)
        assert not waiting.done()
        source.replace(FIRST)
    assert waiting.result() is FIRST


async def test_every_waiter_learns_of_a_rotation_and_none_misses_one() -> None:
    source = CertificateSource(FIRST)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(source.changed(FIRST)) for _ in range(3)]
        await asyncio.sleep(0)
        source.replace(FIRST)
        source.replace(SECOND)
    assert [each.result() for each in waiting] == [SECOND] * 3
    assert await source.changed(FIRST) is SECOND


@contextlib.asynccontextmanager
async def _https(source: CertificateSource) -> AsyncIterator[int]:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=ssl_context(source))
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _presented(port: int, server_name: str) -> bytes:
    context = client_ssl_context(FIRST.roots_pem)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_name)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return certificate


@pytest.mark.parametrize("server_name", ["localhost", "127.0.0.1"])
async def test_an_http_server_presents_the_new_certificate_after_a_rotation(server_name: str) -> None:
    source = CertificateSource(FIRST)
    async with _https(source) as port:
        assert await _presented(port, server_name) == _der(FIRST)
        source.replace(SECOND)
        assert await _presented(port, server_name) == _der(SECOND)


async def test_an_http_client_refuses_another_root() -> None:
    async with _https(CertificateSource(FIRST)) as port:
        context = client_ssl_context(Authority().issue().roots_pem.decode())
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")


@contextlib.asynccontextmanager
async def _grpc_server(source: CertificateSource, *, require_client: bool) -> AsyncIterator[int]:
    """Answers every call with the SPIFFE ids that the peer proved."""

    async def who(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        uris = context.auth_context().get("peer_spiffe_id", [])
        return b",".join(uris)

    handler = grpc.method_handlers_generic_handler(
        "test.Who", {"Am": grpc.unary_unary_rpc_method_handler(who)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(source, require_client=require_client))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def _ask(port: int, credentials: grpc.ChannelCredentials) -> bytes:
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        call: Any = channel.unary_unary("/test.Who/Am")
        answer: bytes = await call(b"", timeout=10)
        return answer


async def _grpc_presented(port: int) -> bytes:
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return ssl.PEM_cert_to_DER_cert(pem)


async def test_a_grpc_server_knows_its_client_by_certificate() -> None:
    async with _grpc_server(CertificateSource(FIRST), require_client=True) as port:
        assert await _ask(port, channel_credentials(SECOND)) == SPIFFE.encode()


async def test_a_grpc_server_refuses_clients_without_a_certificate_of_its_roots() -> None:
    stranger = Authority().issue()
    foreign = KeyMaterial(key_pem=stranger.key_pem, chain_pem=stranger.chain_pem, roots_pem=FIRST.roots_pem)
    async with _grpc_server(CertificateSource(FIRST), require_client=True) as port:
        for credentials in (grpc.ssl_channel_credentials(FIRST.roots_pem), channel_credentials(foreign)):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await _ask(port, credentials)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_grpc_server_presents_the_new_certificate_after_a_rotation() -> None:
    source = CertificateSource(FIRST)
    async with _grpc_server(source, require_client=False) as port:
        assert await _grpc_presented(port) == _der(FIRST)
        source.replace(SECOND)
        assert await _grpc_presented(port) == _der(SECOND)
        assert await _ask(port, grpc.ssl_channel_credentials(FIRST.roots_pem)) == b""
