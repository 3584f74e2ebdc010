"""docs/operations.md, Backup and restore, is true: its commands are run as they stand, and sidecars go on."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bartizan.api import IssueKey
from bartizan.errors import DependencyError
from bartizan.local.openbao import OpenBao
from control_plane.policies.actor import Actor
from control_plane.policies.keys import Keys
from control_plane.store.sql.store import open_store
from tests.support.control_plane_stand import POLICY, Stand, stand
from tests.support.postgres import needs_postgres, postgres
from tests.support.typed import ROOT, as_root, type_in

SECTION = (ROOT / "docs/operations.md").read_text().split("## Backup and restore")[1]
BLOCKS = re.findall(r"```sh\n(.*?)```", SECTION.split("**Upgrades.**")[0], re.DOTALL)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("backup"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(name="lost")
async def _lost() -> AsyncIterator[Stand]:
    async with stand() as made:
        yield made


async def restore_vault(bao: OpenBao, folder: Path) -> None:
    """What an operator does: an empty server, the snapshot, the old keys."""
    kept = {
        name: (bao.state / name).read_text() for name in ("unseal.json", "control-plane-token", "ports.json")
    }
    shutil.rmtree(bao.state)
    bao.state.mkdir(mode=0o700)
    (bao.state / "ports.json").write_text(kept["ports.json"])
    await bao.start()
    await type_in(BLOCKS[2], folder, as_root(bao))
    (bao.state / "unseal.json").write_text(kept["unseal.json"])
    bao.token_file.write_text(kept["control-plane-token"])
    async with asyncio.timeout(60):
        while True:  # it takes a moment until it asks for the old keys
            try:
                await bao.unseal()
            except DependencyError:
                await asyncio.sleep(0.2)
            else:
                return


async def test_sidecars_serve_through_a_loss_and_take_what_a_restored_store_publishes(
    lost: Stand, tmp_path: Path
) -> None:
    stack = lost.stack
    here = str(stack.state / "control-plane")
    backup, restore = (BLOCKS[number].replace("/var/lib/bartizan", here) for number in (0, 3))
    async with stack.client() as client:
        leaked = await client.issue_key("hurt", tenant="acme")
        await type_in(backup, tmp_path, as_root(stack.bao))
        applied = await client.apply(lost.document(tenants=("acme", "more")))
        await lost.enforced(applied.version)
        await client.revoke_key("hurt", leaked.id)
        assert (await client.wait_key_set("hurt", timeout_seconds=60)).behind == ()
    async with lost.traffic() as answers:
        await lost.control_plane.stop()
        await stack.bao.stop()
        shutil.rmtree(here)
        await restore_vault(stack.bao, tmp_path)
        await type_in(restore, tmp_path)
        await stack.start_control_plane()
        async with stack.client() as client:

            async def told(reason: str) -> bool:
                return [row.reason for row in (await client.status(POLICY)).instances] == [reason]

            await lost.until(lambda: told("newer_version"))
            assert await lost.ask(leaked.key) == 401, "the sidecar keeps what it knew"
            assert not (await client.keys("hurt")).keys[-1].revoked, "which the store does not"
            assert (await client.key_set("hurt")).behind, "no proof from who is ahead"
            await client.revoke_key("hurt", leaked.id)
            while (await client.rollout(POLICY, 1)).version <= applied.version:
                pass
            issued = await client.issue_key("hurt", tenant="acme")
            await lost.enforced()
            assert (await client.wait_key_set("hurt", timeout_seconds=60)).behind == ()
        assert await lost.ask(leaked.key) == 401
        assert await lost.ask(issued.key) == 200
    assert set(answers) == {200}


@needs_postgres
async def test_a_dump_of_postgres_is_the_whole_store_and_takes_new_changes(tmp_path: Path) -> None:
    actor = Actor(token_id="t", name="ops", role="admin")

    async def changed(_name: str) -> None:
        pass

    async with postgres() as url:
        server = url.replace("+asyncpg", "").removesuffix("postgres")
        store = await open_store(url)
        keys = Keys(store, changed)
        await keys.create_set("chat", actor)
        kept = await keys.issue("chat", IssueKey(tenant="acme"), actor)
        await type_in(BLOCKS[1], tmp_path, {"DATABASE": f"{server}postgres"})
        await keys.issue("chat", IssueKey(tenant="late"), actor)
        await store.close()
        await type_in(
            "createdb --maintenance-db=$DATABASE restored", tmp_path, {"DATABASE": f"{server}postgres"}
        )
        await type_in(BLOCKS[4], tmp_path, {"DATABASE": f"{server}restored"})
        restored = await open_store(url.removesuffix("postgres") + "restored")
        try:
            keys = Keys(restored, changed)
            version, rows = await keys.keys("chat")
            assert (version, [row.record.id for row in rows]) == (2, [kept.id])
            issued = await keys.issue("chat", IssueKey(tenant="acme"), actor)
            async with restored.begin() as work:
                events = await work.events.recent()
            assert [each.act for each in events] == ["key.issue", "key.issue", "key_set.create"]
            assert {row.record.id for row in (await keys.keys("chat"))[1]} == {kept.id, issued.id}
        finally:
            await restored.close()
