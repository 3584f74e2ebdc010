"""Attestation and renewal over real gRPC and TLS, with a real OpenBao and SQLite behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bartizan.identity import new_secret, secret_hash
from bartizan.tls import (
    CertificateSource,
    KeyMaterial,
    channel_credentials,
    make_csr,
    new_key,
    server_credentials,
)
from control_plane.identity.attest import Attestor, PeerLimit
from control_plane.identity.attest_service import AttestService, RenewService
from control_plane.identity.issuer import Issuer
from control_plane.secrets.vault import Vault
from control_plane.store.base import JoinTokenRow, Store
from control_plane.store.sql.store import open_store
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc

TD = "prod.example"
WORKLOAD = f"spiffe://{TD}/ns/prod/sa/chat"


@dataclass(slots=True)
class Running:
    store: Store
    roots: bytes
    attest_port: int
    renew_port: int
    ahead: Attestor
    """A replica whose clock is an hour ahead."""

    async def token(self, *, life: float = 600.0) -> str:
        secret, now = new_secret(), time.time()
        row = JoinTokenRow(
            hash=secret_hash(secret),
            spiffe_id=WORKLOAD,
            labels={"app": "chat"},
            created_at=now,
            created_by="test",
            expires_at=now + life,
        )
        async with self.store.begin() as work:
            await work.join_tokens.add(row)
        return secret

    async def attest(self, token: str, csr: bytes) -> identity_pb2.Certificate:
        credentials = grpc.ssl_channel_credentials(self.roots)
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.attest_port}", credentials) as channel:
            stub = identity_pb2_grpc.IdentityStub(channel)
            return await stub.Attest(identity_pb2.AttestRequest(join_token=token, csr=csr), timeout=60)

    async def renew(self, material: KeyMaterial, instance_id: str) -> identity_pb2.Certificate:
        credentials = channel_credentials(material)
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.renew_port}", credentials) as channel:
            stub = identity_pb2_grpc.IdentityStub(channel)
            request = identity_pb2.RenewRequest(instance_id=instance_id, csr=make_csr(material.key_pem))
            return await stub.Renew(request, timeout=60)


@pytest.fixture
async def running(vault: Vault, tmp_path: Path) -> AsyncIterator[Running]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    source = CertificateSource()
    issuer = Issuer(vault, trust_domain=TD, hosts=(), source=source)
    await issuer.start()
    attestor = Attestor(store, issuer)
    public, mutual = grpc.aio.server(), grpc.aio.server()
    limit = PeerLimit(rate=0.0, burst=10.0)
    identity_pb2_grpc.add_IdentityServicer_to_server(AttestService(attestor, limit), public)  # type: ignore[abstract]
    identity_pb2_grpc.add_IdentityServicer_to_server(RenewService(attestor), mutual)  # type: ignore[abstract]
    attest_port = public.add_secure_port("127.0.0.1:0", server_credentials(source, require_client=False))
    renew_port = mutual.add_secure_port("127.0.0.1:0", server_credentials(source, require_client=True))
    await public.start()
    await mutual.start()
    ahead = Attestor(store, issuer, clock=lambda: time.time() + 3600)
    yield Running(store, source.current.roots_pem, attest_port, renew_port, ahead)
    await public.stop(0)
    await mutual.stop(0)
    await store.close()


def material(key: bytes, certificate: identity_pb2.Certificate) -> KeyMaterial:
    def pem(ders: list[bytes]) -> bytes:
        encoding = serialization.Encoding.PEM
        return b"".join(x509.load_der_x509_certificate(der).public_bytes(encoding) for der in ders)

    return KeyMaterial(
        key_pem=key, chain_pem=pem(list(certificate.chain)), roots_pem=pem(list(certificate.roots))
    )


async def test_a_join_token_gives_one_certificate_and_an_instance_that_may_renew(running: Running) -> None:
    key = new_key()
    first = await running.attest(await running.token(), make_csr(key))
    assert first.spiffe_id == WORKLOAD
    assert 3500 < first.ttl.ToTimedelta().total_seconds() <= 3600
    async with running.store.begin() as work:
        instance = await work.instances.get(first.instance_id)
    assert instance is not None
    assert (instance.namespace, instance.labels) == ("prod", {"app": "chat"})
    second = await running.renew(material(key, first), first.instance_id)
    assert (second.spiffe_id, second.instance_id) == (WORKLOAD, first.instance_id)
    assert second.chain[0] != first.chain[0]


async def test_a_join_token_ends_by_the_clock_that_replicas_share(running: Running) -> None:
    made = await running.ahead.attest(await running.token(), make_csr(new_key()), peer="here")
    assert made.instance_id


async def refusal(work: object) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await work  # type: ignore[misc]
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_unknown_used_and_expired_tokens_are_refused_alike(running: Running) -> None:
    csr, used = make_csr(new_key()), await running.token()
    await running.attest(used, csr)
    for token in (used, "never-issued", await running.token(life=-1)):
        assert await refusal(running.attest(token, csr)) is grpc.StatusCode.UNAUTHENTICATED


async def test_of_callers_racing_with_one_token_one_wins(running: Running) -> None:
    token = await running.token()
    results = await asyncio.gather(
        *(running.attest(token, make_csr(new_key())) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(result, identity_pb2.Certificate) for result in results) == 1


async def test_a_bad_request_leaves_the_token_unspent(running: Running) -> None:
    token = await running.token()
    assert await refusal(running.attest(token, b"nonsense")) is grpc.StatusCode.INVALID_ARGUMENT
    assert (await running.attest(token, make_csr(new_key()))).instance_id


async def test_removed_and_unknown_instances_may_not_renew(running: Running) -> None:
    key = new_key()
    attested = await running.attest(await running.token(), make_csr(key))
    mine = material(key, attested)
    assert await refusal(running.renew(mine, "0" * 32)) is grpc.StatusCode.PERMISSION_DENIED
    async with running.store.begin() as work:
        await work.instances.remove(attested.instance_id, at=time.time())
    assert await refusal(running.renew(mine, attested.instance_id)) is grpc.StatusCode.PERMISSION_DENIED


async def test_an_address_that_asks_too_often_is_held_off(running: Running) -> None:
    csr = make_csr(new_key())
    codes = [await refusal(running.attest("wrong", csr)) for _ in range(11)]
    assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 10 + [grpc.StatusCode.RESOURCE_EXHAUSTED]


async def test_each_port_serves_only_its_own_method(running: Running) -> None:
    credentials = grpc.ssl_channel_credentials(running.roots)
    async with grpc.aio.secure_channel(f"127.0.0.1:{running.attest_port}", credentials) as channel:
        stub = identity_pb2_grpc.IdentityStub(channel)
        call = stub.Renew(identity_pb2.RenewRequest(), timeout=60)
        assert await refusal(call) is grpc.StatusCode.UNIMPLEMENTED
