"""Two control planes over one PostgreSQL: what is done at one holds at the other, and each goes on without the other.

One pair for the whole file; each test begins from a state that is proven, not from what the one before left.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import grpc
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bartizan.api import PolicyStatus
from bartizan.identity import JoinToken
from bartizan.local.stack import TRUST_DOMAIN
from bartizan.tls import make_csr, new_key
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc
from tests.support.postgres import needs_postgres
from tests.support.replicas_stand import KEY_SET, SECRET, Pair, Place, pair, until

pytestmark = [
    pytest.mark.e2e,
    needs_postgres,
    pytest.mark.xdist_group("replicas"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="started")
async def _started() -> AsyncIterator[Pair]:
    async with pair() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", name="both")
async def _both(started: Pair) -> Pair:
    await started.begin()
    return started


async def test_a_policy_applied_at_one_replica_is_proven_on_a_sidecar_of_the_other(both: Pair) -> None:
    async with both.one.client() as one, both.two.client() as two:
        for place in both.places:
            applied = await one.apply(place.document(both.model.port, tenants=("acme", "more")))
            began = asyncio.get_running_loop().time()
            status = await one.wait_enforced(place.policy, applied.version, timeout_seconds=60)
            print(f"\n{place.name}: proven after {(asyncio.get_running_loop().time() - began) * 1000:.0f} ms")
            assert (status.enforced, status.version) == (True, applied.version)
            assert (await two.wait_enforced(place.policy, applied.version, timeout_seconds=60)).enforced
        ours = {await each.instance() for each in both.places}

        async def agreed() -> bool:
            """Each is told by its own sidecar, and hears of the other one's."""
            for place in both.places:
                if shown(await one.status(place.policy)) != shown(await two.status(place.policy)):
                    return False
            return await live(both.one) == await live(both.two) == ours

        await until(agreed)


async def test_a_key_of_one_replica_is_taken_and_refused_at_the_others_sidecar(both: Pair) -> None:
    async with both.one.client() as one, both.two.client() as two:
        issued = await one.issue_key(KEY_SET, tenant="acme")

        async def taken() -> bool:
            return await both.two.ask(issued.key) == 200

        async def refused() -> bool:
            return await both.two.ask(issued.key) == 401

        await until(taken)
        await one.revoke_key(KEY_SET, issued.id)
        print(f"\na key revoked at the other replica is refused after {await until(refused) * 1000:.0f} ms")
        for client in (one, two):
            assert (await client.wait_key_set(KEY_SET, timeout_seconds=60)).behind == ()


async def test_a_join_token_used_at_one_replica_is_refused_at_the_other(both: Pair) -> None:
    async with both.one.client() as one:
        token = JoinToken.decode(await one.join_token(f"spiffe://{TRUST_DOMAIN}/ns/default/sa/joins"))
    joined = await attest(both.one, token)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attest(both.two, token)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    async with both.two.client() as two:
        assert joined.instance_id in {each.instance_id for each in await two.instances()}
        # It would hold rotations: nobody can tell what another replica has sent it.
        await two.remove_instance(joined.instance_id)


async def test_an_instance_removed_at_one_replica_is_cut_off_at_the_other(both: Pair) -> None:
    before = await both.two.instance()
    async with both.one.client() as one:
        await one.remove_instance(before)

        async def cut_off() -> bool:
            seen = await both.two.stack.sidecar_status()
            return "control_plane_away" in seen["conditions"] and before not in await live(both.two)

        await until(cut_off)
        await both.two.stack.sidecar.stop(grace=60)  # type: ignore[union-attr]
        (both.two.stack.state / "sidecar" / "identity.sealed").unlink()
        await both.two.stack.start_sidecar()
        assert (await one.wait_enforced(both.two.policy, timeout_seconds=60)).enforced


@pytest.mark.timeout(480)
@pytest.mark.parametrize("phase", ["promote", "drain"])
async def test_a_rotation_whose_replica_is_killed_is_ended_by_the_other(both: Pair, phase: str) -> None:
    async with both.traffic() as answers:
        dead, alive = await rotating(both, phase)
        assert dead.stack.control_plane is not None
        dead.stack.control_plane.signal(signal.SIGKILL)
        await dead.stack.control_plane.process.wait()
        async with alive.client() as client:
            assert (await client.wait_rotated(SECRET, timeout_seconds=120)).phase == "awaiting_destroy"
            for place in both.places:  # the dead one's sidecar has found the other replica
                assert (await client.wait_enforced(place.policy, timeout_seconds=60)).enforced
        await dead.stack.start_control_plane()
    await both.answered(answers)
    await one_key(both)


@pytest.mark.timeout(480)
async def test_a_replica_that_was_stopped_in_a_rotation_does_no_harm_when_it_wakes(both: Pair) -> None:
    async with both.traffic() as answers:
        asleep, awake = await rotating(both, "promote")
        child = asleep.stack.control_plane
        assert child is not None
        child.signal(signal.SIGSTOP)
        try:
            with both.unready(asleep):
                async with awake.client() as client:
                    assert (await client.wait_rotated(SECRET, timeout_seconds=120)).finished
                    applied = await client.apply(
                        asleep.document(both.model.port, tenants=("acme", "meanwhile"))
                    )
                    status = await client.wait_enforced(asleep.policy, applied.version, timeout_seconds=60)
                    assert status.enforced, status
        finally:
            child.signal(signal.SIGCONT)
        async with asleep.client() as client:
            woken = await client.wait_enforced(asleep.policy, applied.version, timeout_seconds=60)
        assert (woken.enforced, woken.version) == (True, applied.version)
    await both.answered(answers)
    async with both.traffic() as answers:
        # Its sidecar comes back to it: with the newest key, not with what it knew when it was stopped.
        assert asleep.stack.sidecar is not None
        await asleep.stack.sidecar.stop(grace=60)
        await asleep.stack.start_sidecar(join=False)
    await both.answered(answers, or_not_taken=True)
    await one_key(both)


async def rotating(both: Pair, phase: str) -> tuple[Place, Place]:
    """Begins a rotation; the replica that leads it once it is in this phase, and the other one."""
    async with both.one.client() as client:
        await client.rotate(SECRET)

        async def there() -> bool:
            seen = await client.rotation(SECRET)
            if seen.finished:  # it went by between two looks
                await client.rotate(SECRET)
            return seen.phase == phase

        await until(there)
    engine = create_async_engine(both.one.stack.settings["BARTIZAN_CP_STORE"])
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT holder FROM leases WHERE name = 'rotation'"))
        holder = found.scalar_one()
    await engine.dispose()
    leads = (both.one.stack.state / "control-plane" / "replica").read_text().strip() == holder
    return both.places if leads else (both.two, both.one)


async def one_key(both: Pair) -> None:
    """The model knows one key, and no sidecar ever showed it another one."""
    assert len(both.model.keys) == 1
    assert both.model.refused == 0
    assert [await place.ask(both.key) for place in both.places] == [200, 200]


async def live(place: Place) -> set[str]:
    async with place.client() as client:
        return {each.instance_id for each in await client.instances() if each.live}


def shown(status: PolicyStatus) -> PolicyStatus:
    """Without what only the replica that a sidecar reports to knows to the second."""
    rows = tuple(msgspec.structs.replace(row, last_seen=0.0, trace_id="") for row in status.instances)
    return msgspec.structs.replace(status, instances=rows)


async def attest(place: Place, token: JoinToken) -> identity_pb2.Certificate:
    credentials = grpc.ssl_channel_credentials(place.stack.ca_file.read_bytes())
    address = f"127.0.0.1:{place.stack.ports.attest}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        request = identity_pb2.AttestRequest(join_token=token.secret, csr=make_csr(new_key()))
        return await identity_pb2_grpc.IdentityStub(channel).Attest(request, timeout=10)
