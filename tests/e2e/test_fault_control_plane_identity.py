"""Who is not who they say: join tokens that are no good, foreign names, foreign instance ids, foreign certificates."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import msgspec
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.identity import JoinToken, new_secret
from bartizan.local.processes import Child
from bartizan.local.stack import TRUST_DOMAIN
from bartizan.policy.names import TYPE_BUNDLE, TYPE_KEY_SET, TYPE_SECRET
from bartizan.tls import CertificateSource, KeyMaterial, channel_credentials, make_csr, new_key
from bartizan.xds.client import KEEPALIVE, AdsClient, BackOff, ConnectionState
from control_plane.identity.issuer import Issuer
from protos.gen.bartizan.audit.v1 import audit_pb2, audit_pb2_grpc
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc
from tests.support.agent_plane import RootInMemory
from tests.support.agent_stand import Local
from tests.support.control_plane_stand import Stand, stand
from tests.support.orphans import end_orphans

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("control-plane"),
    pytest.mark.asyncio(loop_scope="module"),
]

OTHER = f"spiffe://{TRUST_DOMAIN}/ns/default/sa/other"
PEM = serialization.Encoding.PEM


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="hurt")
async def _hurt() -> AsyncIterator[Stand]:
    async with stand() as made:
        async with made.stack.client() as client:
            await client.create_key_set("other")
            await client.apply(made.document(name="other", app="other"))
        yield made


@dataclass
class Pod:
    """An attested sidecar of which only the certificate is real."""

    material: KeyMaterial
    instance_id: str
    address: str

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self.address, channel_credentials(self.material), list(KEEPALIVE))


def pem(chain: object) -> bytes:
    return b"".join(x509.load_der_x509_certificate(each).public_bytes(PEM) for each in chain)  # type: ignore[attr-defined]


async def join(hurt: Stand, spiffe_id: str = OTHER, **more: int) -> JoinToken:
    async with hurt.stack.client() as client:
        return JoinToken.decode(await client.join_token(spiffe_id, {"app": "other"}, **more))


async def attest(hurt: Stand, token: JoinToken) -> Pod:
    key, roots = new_key(), hurt.stack.ca_file.read_bytes()
    async with grpc.aio.secure_channel(token.attest, grpc.ssl_channel_credentials(roots)) as channel:
        request = identity_pb2.AttestRequest(join_token=token.secret, csr=make_csr(key))
        made = await identity_pb2_grpc.IdentityStub(channel).Attest(request, timeout=60)
    material = KeyMaterial(key_pem=key, chain_pem=pem(made.chain), roots_pem=roots)
    return Pod(material=material, instance_id=made.instance_id, address=token.grpc)


async def refusals(hurt: Stand, pod: Pod, kinds: set[str], target: str = "") -> dict[str, list[str]]:
    """Names refused by type, as the admin events tell it, once all of these types are among them."""
    found: dict[str, list[str]] = {}
    async with asyncio.timeout(60), hurt.stack.client() as client:
        while not kinds <= found.keys():
            found = {
                event.detail["type"]: event.detail["names"]
                for event in await client.events()
                if event.act == "subscription.refuse" and event.target == (target or pod.instance_id)
            }
            await asyncio.sleep(0.05)
    return found


async def test_an_instance_gets_its_own_and_its_wishes_for_more_are_recorded(hurt: Stand) -> None:
    pod = await attest(hurt, await join(hurt))
    got: dict[str, set[str]] = {}

    async def take(kind: str, _version: str, items: Mapping[str, AnyMessage]) -> None:
        got.setdefault(kind, set()).update(items)

    client = AdsClient(pod.channel, pod.instance_id, take)
    client.subscribe(TYPE_BUNDLE, frozenset({"default/other", "default/hurt"}))
    client.subscribe(TYPE_KEY_SET, frozenset({"other", "hurt"}))
    client.subscribe(TYPE_SECRET, frozenset({"upstream"}))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(client.run())
        refused = await refusals(hurt, pod, {"bundle", "key_set", "secret"})
        while not got.get(TYPE_BUNDLE) or not got.get(TYPE_KEY_SET):
            await asyncio.sleep(0.02)
        running.cancel()
    assert refused == {"bundle": ["default/hurt"], "key_set": ["hurt"], "secret": ["upstream"]}
    assert (got[TYPE_BUNDLE], got[TYPE_KEY_SET], got.get(TYPE_SECRET, set())) == (
        {"default/other"},
        {"other"},
        set(),
    )


async def test_nobody_speaks_for_another_instance(hurt: Stand) -> None:
    pod = await attest(hurt, await join(hurt))
    async with hurt.stack.client() as client:
        (victim,) = [each for each in await client.instances() if each.labels == {"app": "hurt"}]
    states: list[ConnectionState] = []

    async def take(kind: str, _version: str, _items: Mapping[str, AnyMessage]) -> None:
        pytest.fail(f"{kind} came for another instance")

    impostor = AdsClient(
        pod.channel, victim.instance_id, take, on_state=states.append, backoff=BackOff(cap=0.1)
    )
    impostor.subscribe(TYPE_BUNDLE)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(impostor.run())
        while "permission_denied" not in {state.reason for state in states}:
            await asyncio.sleep(0.02)
        running.cancel()
    assert set(await refusals(hurt, pod, {"instance"}, target=victim.instance_id)) == {"instance"}
    async with pod.channel() as channel:
        for call in (
            fleet_pb2_grpc.FleetStub(channel).Report(
                fleet_pb2.InstanceReport(instance_id=victim.instance_id, boot_id="b", sequence=9), timeout=60
            ),
            identity_pb2_grpc.IdentityStub(channel).Renew(
                identity_pb2.RenewRequest(instance_id=victim.instance_id, csr=make_csr(new_key())), timeout=60
            ),
            audit_pb2_grpc.AuditStub(channel).Upload(
                audit_pb2.Batch(instance_id=victim.instance_id, records=[b"{}"]), timeout=60
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert await hurt.enforced() > 0, "the impostor's report changed nothing"


@pytest.mark.parametrize("kind", ["of another CA", "none"])
async def test_a_certificate_that_is_not_ours_opens_nothing(hurt: Stand, kind: str) -> None:
    pod = await attest(hurt, await join(hurt))
    if kind == "none":
        credentials = grpc.ssl_channel_credentials(pod.material.roots_pem)
    else:
        stranger = Issuer(RootInMemory(), trust_domain=TRUST_DOMAIN, hosts=(), source=CertificateSource())  # type: ignore[arg-type]
        await stranger.start()
        key = new_key()
        issued = stranger.issue(make_csr(key), OTHER, dt.timedelta(hours=1))
        forged = KeyMaterial(
            key_pem=key, chain_pem=pem(issued.chain), roots_pem=hurt.stack.ca_file.read_bytes()
        )
        credentials = channel_credentials(forged)
    async with grpc.aio.secure_channel(pod.address, credentials) as channel:
        report = fleet_pb2.InstanceReport(instance_id=pod.instance_id, boot_id="b", sequence=1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fleet_pb2_grpc.FleetStub(channel).Report(report, timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_agent_says_why_it_may_not_join_and_joins_when_it_may(hurt: Stand) -> None:
    spent, good = await join(hurt), await join(hurt)
    await attest(hurt, spent)
    expired = await join(hurt, ttl_seconds=1)
    guessed = msgspec.structs.replace(good, secret=new_secret())
    otherwise = msgspec.structs.replace(good, trust="0" * 64)
    await asyncio.sleep(1.1)
    for token, why in (
        (spent.encode(), "attestation refused: unauthenticated"),
        (expired.encode(), "attestation refused: unauthenticated"),
        (guessed.encode(), "attestation refused: unauthenticated"),
        (otherwise.encode(), "trust document"),
        ("bzj1.rubbish", "join token"),
    ):
        agent = Local(folder=Path(tempfile.mkdtemp(prefix="bz-")), model_port=hurt.model_port)
        agent.write_certificate()
        try:
            await agent.start(token)
            assert agent.child is not None
            child = agent.child
            status = await agent.until(_tells(child, '"not_attested"', why))
            assert not status["ready"]
            if token == spent.encode():
                (agent.folder / "join-token").write_text(good.encode())
                await agent.until(_tells(child, '"attested"', ""))
        finally:
            if agent.child is not None:
                await agent.child.stop()
                log = agent.child.log.read_text()
                assert spent.secret not in log
                assert good.secret not in log
            end_orphans(agent.folder)
            shutil.rmtree(agent.folder, ignore_errors=True)


def _tells(child: Child, event: str, why: str) -> Callable[[object], bool]:
    """Whether the agent's log has this event with these words."""
    return lambda _status: any(event in line and why in line for line in child.tail(50).splitlines())
