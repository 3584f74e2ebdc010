"""The whole control plane as a process, with real OpenBao: it waits for it, works, survives its absence and a restart."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bartizan.client import Client
from bartizan.errors import DependencyUnavailable, Forbidden
from bartizan.identity import JoinToken
from bartizan.local import processes
from bartizan.tls import make_csr, new_key
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc
from tests.support.control_plane_place import Place, new_place

SPIFFE = "spiffe://test.local/ns/prod/sa/model"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with new_place(tmp_path) as made:
        yield made


async def test_the_process_from_first_start_to_restart(
    place: Place, tmp_path: Path, policy_text: str
) -> None:
    child = await place.start(tmp_path / "first.log")
    try:
        await place.ready()
        bootstrap = place.state / "bootstrap-token"
        assert stat.S_IMODE(bootstrap.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.state.stat().st_mode) == 0o700
        secret = bootstrap.read_text().strip()
        url = f"https://127.0.0.1:{place.api}"
        async with Client(url, secret, ca_file=place.ca) as client:
            token = (await client.create_token(role="admin", name="test")).token
        assert not bootstrap.exists()
        async with Client(url, token, ca_file=place.ca) as client:
            applied = await client.apply(policy_text)
            assert applied.version == 1
            join = JoinToken.decode(await client.join_token(SPIFFE, {"app": "chat"}))
            trust = await client.trust()
            assert hashlib.sha256(trust).hexdigest() == join.trust
            certificate = await attest(join, place.ca)
            assert certificate.spiffe_id == SPIFFE
            leaf = x509.load_der_x509_certificate(certificate.chain[0])
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SPIFFE]
            assert await serving(join, place.ca)
            (instance,) = await client.instances()
            assert instance.instance_id == certificate.instance_id
            with pytest.raises(grpc.aio.AioRpcError) as again:
                await attest(join, place.ca)
            assert again.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await place.bao.stop()
            # What needs no signature goes on; what does says so and stores nothing.
            await client.create_key_set("chat")
            assert (await client.issue_key("chat", tenant="acme")).key.startswith("bzk_")
            assert (await client.apply(policy_text)).changed is False
            with pytest.raises(DependencyUnavailable):
                await client.apply(policy_text.replace("acme", "globex"))
            assert len(await client.revisions("prod/chat")) == 1
            viewer = (await client.create_token(role="viewer", name="looker")).token
            async with Client(url, viewer, ca_file=place.ca) as looker:
                with pytest.raises(Forbidden):
                    await looker.create_key_set("other")
            async with asyncio.timeout(60):
                while not (refused := (await client.events_page(act="api.refuse")).events):
                    await asyncio.sleep(0.05)
            assert (refused[0].target, refused[0].actor.split(" ")[0]) == ("put_key_sets_set", "looker")
    finally:
        await child.stop()
    assert secret not in child.log.read_text()
    assert token not in child.log.read_text()

    child = await place.start(tmp_path / "second.log")
    try:
        await asyncio.sleep(0)
        await place.bao.start()
        await place.ready()
        assert not (place.state / "bootstrap-token").exists()
        async with Client(f"https://127.0.0.1:{place.api}", token, ca_file=place.ca) as client:
            assert (await client.apply(policy_text.replace("acme", "globex"))).version == 2
            assert "vault_unavailable" not in (await client.health()).reasons
    finally:
        await child.stop()


def environment_without_vault(tmp_path: Path) -> tuple[dict[str, str], int]:
    (tmp_path / "token").write_text("none")
    ports = [processes.free_port() for _ in range(5)]
    names = ("API", "GRPC", "ATTEST", "METRICS")
    listen = {
        f"BARTIZAN_CP_{name}_LISTEN": f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)
    }
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **listen,
        "BARTIZAN_CP_STATE_DIR": str(tmp_path / "state"),
        "BARTIZAN_CP_TRUST_DOMAIN": "test.local",
        "BARTIZAN_CP_VAULT_ADDR": f"https://127.0.0.1:{ports[4]}",
        "BARTIZAN_CP_VAULT_TOKEN_FILE": str(tmp_path / "token"),
    }, ports[0]


async def test_without_vault_it_says_why_it_is_not_ready_and_stops_when_told(tmp_path: Path) -> None:
    environment, port = environment_without_vault(tmp_path)
    command = [sys.executable, "-m", "control_plane"]
    child = await processes.start("control plane", command, log=tmp_path / "log", env=environment)
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            reasons: list[str] = []
            while reasons != ["vault_unavailable"]:
                child.check()
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    # Its certificate is makeshift until Vault has signed one; only the reason is read.
                    async with session.get(f"https://127.0.0.1:{port}/readyz", ssl=False) as answer:
                        assert answer.status == 503
                        reasons = (await answer.json())["reasons"]
                await asyncio.sleep(0.02)
            async with session.get(f"https://127.0.0.1:{port}/healthz", ssl=False) as answer:
                assert answer.status == 200
    finally:
        await child.stop()
    assert not (tmp_path / "state" / "ca.pem").exists()


async def test_wrong_settings_end_it_with_every_mistake(tmp_path: Path) -> None:
    environment, _ = environment_without_vault(tmp_path)
    wrong = {**environment, "BARTIZAN_CP_TRUST_DOMAIN": "X X", "BARTIZAN_CP_NONE": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "control_plane", env=wrong, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    for variable in ("BARTIZAN_CP_TRUST_DOMAIN", "BARTIZAN_CP_NONE"):
        assert variable in errors.decode()


async def attest(join: JoinToken, ca: Path) -> identity_pb2.Certificate:
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    async with grpc.aio.secure_channel(join.attest, credentials) as channel:
        stub = identity_pb2_grpc.IdentityStub(channel)
        request = identity_pb2.AttestRequest(join_token=join.secret, csr=make_csr(new_key()))
        answer: identity_pb2.Certificate = await stub.Attest(request, timeout=60)
        return answer


async def serving(join: JoinToken, ca: Path) -> bool:
    """grpc.health.v1 on the port for attestation; its streams are not offered to strangers."""
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    async with grpc.aio.secure_channel(join.attest, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
            await anext(aiter(stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)))
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=60)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
