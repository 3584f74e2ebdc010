"""The control plane and OpenBao are killed, frozen and starved: traffic goes on, and nothing is half done afterwards.

One stack for the whole file; each test begins from a state that is proven: all up, the policy enforced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable
from functools import partial

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from bartizan.errors import BartizanError, DependencyError, DependencyUnavailable
from bartizan.local.doctor import examine
from bartizan.local.up_state import UpState, started_at
from tests.support.control_plane_stand import POLICY, Stand, stand

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("control-plane"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="started")
async def _started() -> AsyncIterator[Stand]:
    async with stand() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", name="hurt")
async def _hurt(started: Stand) -> Stand:
    await started.begin()
    return started


def published(hurt: Stand) -> list[tuple[int, int]]:
    """(version, revision) of every publication, oldest first."""
    return hurt.stored("select version, revision from publications order by version")


async def whole(hurt: Stand) -> None:
    """Every act of the store is there with its record, and the sidecar enforces the newest publication."""
    revisions = hurt.stored("select number from revisions")
    applied = hurt.stored("select count(*) from admin_events where act='policy.apply'")
    versions = published(hurt)
    assert len(revisions) == len(versions) == applied[0][0]
    assert await hurt.enforced(versions[-1][0]) == versions[-1][0]
    assert await hurt.ask() == 200
    assert await hurt.ask("") == 401


async def test_killed_before_an_apply_is_stored_nothing_of_it_is_there(hurt: Stand) -> None:
    before = published(hurt)
    tenants = ("acme", f"before-{len(before)}")
    async with hurt.traffic() as answers:
        hurt.stack.bao.freeze()  # the signature never comes
        try:
            async with hurt.stack.client() as client, asyncio.TaskGroup() as group:
                group.create_task(_ignored(client.apply(hurt.document(tenants=tenants))))
                await asyncio.sleep(0.5)
                await hurt.kill_control_plane()
        finally:
            hurt.stack.bao.resume()
        assert published(hurt) == before
        await hurt.stack.start_control_plane()
        await whole(hurt)
    assert set(answers) == {200}, answers
    assert published(hurt) == before


async def test_killed_after_an_apply_is_stored_it_is_carried_out(hurt: Stand) -> None:
    before = published(hurt)
    tenants = ("acme", f"after-{len(before)}")
    async with hurt.traffic() as answers:
        async with hurt.stack.client() as client, asyncio.TaskGroup() as group:
            group.create_task(_ignored(client.apply(hurt.document(tenants=tenants))))
            while published(hurt) == before:
                await asyncio.sleep(0)
            await hurt.kill_control_plane()
        await hurt.stack.start_control_plane()
        assert len(published(hurt)) == len(before) + 1
        await whole(hurt)
    assert set(answers) == {200}, answers


async def test_killed_at_any_moment_of_an_apply_the_end_is_one_of_two(hurt: Stand) -> None:
    for round_, pause in enumerate((0.0, 0.01, 0.03, 0.06)):
        before = published(hurt)
        async with hurt.stack.client() as client, asyncio.TaskGroup() as group:
            document = hurt.document(tenants=("acme", f"round-{round_}-{len(before)}"))
            group.create_task(_ignored(client.apply(document)))
            await asyncio.sleep(pause)
            await hurt.kill_control_plane()
        await hurt.stack.start_control_plane()
        assert len(published(hurt)) - len(before) in {0, 1}
        await whole(hurt)


async def test_a_stopped_control_plane_is_waited_for_and_found_again(hurt: Stand) -> None:
    async def away() -> bool:
        return "control_plane_away" in (await hurt.stack.sidecar_status())["conditions"]

    async def connected() -> bool:
        return not await away()

    async def ready() -> bool:
        return bool((await hurt.stack.sidecar_status())["ready"])

    await hurt.until(connected)  # the test before, or revival, may have restarted it
    async with hurt.traffic() as answers:
        hurt.control_plane.signal(signal.SIGSTOP)
        try:
            print(f"\na frozen control plane is noticed after {await hurt.until(away):.1f} s")
            await hurt.until(ready)
        finally:
            hurt.control_plane.signal(signal.SIGCONT)
        async with hurt.stack.client() as client:
            applied = await client.apply(hurt.document(tenants=("acme", "woken")))
        await hurt.enforced(applied.version)
    assert set(answers) == {200}, answers
    await whole(hurt)


async def test_a_revoked_key_stays_revoked_whoever_restarts(hurt: Stand) -> None:
    async with hurt.stack.client() as client:
        issued = await client.issue_key("hurt", tenant="acme")

        async def good() -> bool:
            return await hurt.ask(issued.key) == 200

        async def refused() -> bool:
            return await hurt.ask(issued.key) == 401

        await hurt.until(good)
        await client.revoke_key("hurt", issued.id)
        print(f"\na revoked key is refused after {await hurt.until(refused) * 1000:.0f} ms")
        assert (await client.wait_key_set("hurt", timeout_seconds=60)).behind == (), "reported, so it is kept"
    await hurt.kill_control_plane()
    assert hurt.stack.sidecar is not None
    hurt.stack.sidecar.signal(signal.SIGKILL)
    await hurt.stack.sidecar.process.wait()
    await hurt.stack.start_sidecar(join=False)
    assert await hurt.ask(issued.key) == 401, "the agent remembers without the control plane"
    assert await hurt.ask() == 200
    await hurt.stack.start_control_plane()
    await hurt.enforced()
    assert await hurt.ask(issued.key) == 401
    await whole(hurt)


async def test_a_disk_without_room_refuses_acts_and_forgets_none(hurt: Stand) -> None:
    before = published(hurt)
    events = hurt.stored("select count(*) from admin_events where act not like 'rotation%'")
    async with hurt.stack.client() as client:
        keys = (await client.keys("hurt")).keys
        with hurt.no_room():
            for act in (
                client.apply(hurt.document(tenants=("acme", "no-room"))),
                client.issue_key("hurt", tenant="acme"),
                client.revoke_key("hurt", keys[0].id),
                client.create_token(role="viewer", name="no-room"),
                client.join_token("spiffe://bartizan.local/ns/default/sa/x"),
            ):
                with pytest.raises(DependencyError, match="store"):
                    await act
            assert (await client.keys("hurt")).keys == keys, "reading goes on"
            assert (await client.status(POLICY)).version == before[-1][0]
            assert await hurt.ask() == 200
        hurt.control_plane.check()
        assert published(hurt) == before
        assert hurt.stored("select count(*) from admin_events where act not like 'rotation%'") == events
        applied = await client.apply(hurt.document(tenants=("acme", "room-again")))
    await hurt.enforced(applied.version)
    await whole(hurt)


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_without_openbao_only_new_signatures_are_missing(hurt: Stand, how: str) -> None:
    bao = hurt.stack.bao
    async with hurt.stack.client() as client, hurt.traffic() as answers:
        issued = await client.issue_key("hurt", tenant="acme")
        before = published(hurt)
        if how == "frozen":
            bao.freeze()
        else:
            await bao.kill()
        try:
            await client.revoke_key("hurt", issued.id)

            async def refused() -> bool:
                return await hurt.ask(issued.key) == 401

            await hurt.until(refused)
            await hurt.enforced()  # once the sidecar has reported the key set that it already uses
            assert (await client.health()).status == "ok"
            with pytest.raises(DependencyUnavailable, match="Vault"):
                await client.apply(hurt.document(tenants=("acme", how)))
            assert published(hurt) == before
        finally:
            if how == "frozen":
                bao.resume()
            else:
                await bao.start()

        async def applied() -> bool:
            await client.apply(hurt.document(tenants=("acme", how)))
            return True

        await hurt.until(applied)
        assert len(published(hurt)) == len(before) + 1
        await whole(hurt)
    assert set(answers) == {200}, answers


async def test_without_openbao_at_its_start_it_says_why_and_is_ready_when_it_comes(hurt: Stand) -> None:
    await hurt.control_plane.stop()
    await hurt.stack.bao.stop()
    async with hurt.traffic() as answers, asyncio.TaskGroup() as group:
        starting = group.create_task(hurt.stack.start_control_plane())
        await hurt.until(partial(unready, hurt, "vault_unavailable"))
        pretend_up(hurt)
        found = {check.name: check for check in await examine(hurt.stack.state)}
        assert "vault_unavailable" in found["control plane"].found
        assert (found["control plane"].result, found["OpenBao"].result) == ("bad", "bad")
        await hurt.stack.bao.start()
        await starting
        await whole(hurt)
    assert set(answers) == {200}, answers


async def unready(hurt: Stand, why: str) -> bool:
    """Whether it says that it is not ready for this reason. Its certificate is makeshift until Vault has signed one."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{hurt.stack.api_url}/readyz", ssl=False) as answer,
    ):
        return answer.status == 503 and why in await answer.text()


def pretend_up(hurt: Stand) -> None:
    """What `bartizan up` writes for the doctor."""
    stack = hurt.stack
    state = UpState(
        pid=os.getpid(),
        started=started_at(os.getpid()),
        state=str(stack.state),
        listen=f"https://127.0.0.1:{hurt.port}",
        policy=POLICY,
        version=1,
        model=f"http://127.0.0.1:{hurt.model_port}",
        api=stack.api_url,
        token_file=str(stack.token_file),
        ca_file=str(stack.ca_file),
        grpc=f"127.0.0.1:{stack.ports.grpc}",
        health=stack.health_url,
        openbao=stack.bao.address,
        run_dir=str(stack.run_dir),
        sockets={},
        pids={},
        certificate=str(stack.cert_dir / "tls.crt"),
    )
    (stack.state / "up.json").write_bytes(msgspec.json.encode(state))


async def _ignored(act: Awaitable[object]) -> None:
    with contextlib.suppress(BartizanError, aiohttp.ClientError):
        await act
