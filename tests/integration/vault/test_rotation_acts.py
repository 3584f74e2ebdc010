"""What an admin asks of a rotation with a real OpenBao, what is refused, and what the record and the status say."""

from __future__ import annotations

import pytest

from bartizan.errors import Conflict, InvalidInput, NotFound
from control_plane.policies.actor import Actor
from control_plane.secrets.rotation.machine import Phase
from tests.support.rotation_scene import Scene

ALICE = Actor(token_id="t", name="alice", role="operator")


async def test_what_an_admin_asked_for_is_recorded_with_the_act_and_only_then(scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    await engine.rotate("upstream", by="alice", peer="192.0.2.1", request_id="r1")
    with pytest.raises(Conflict):
        await engine.rotate("upstream", by="bob", peer="192.0.2.2", request_id="r2")
    await engine.roll_back("upstream", by="alice", peer="192.0.2.1", request_id="r3")
    with pytest.raises(Conflict):
        await engine.roll_back("upstream", by="bob", peer="192.0.2.2", request_id="r4")
    async with scene.store.begin() as work:
        asked = [each for each in await work.events.recent() if each.request_id]
    assert [(each.act, each.actor, each.peer, each.request_id) for each in asked] == [
        ("rotation.rollback", "alice", "192.0.2.1", "r3"),
        ("rotation.plan", "alice", "192.0.2.1", "r1"),
    ]


async def test_an_admin_rolls_back_until_the_old_key_is_being_revoked(scene: Scene) -> None:
    engine = scene.engine()
    admin = scene.definitions(engine)
    await scene.until(engine, Phase.AWAITING_DESTROY)
    with pytest.raises(Conflict):
        await admin.roll_back("upstream", ALICE)
    scene.nodes, scene.deaf = {"a": "1"}, True
    await admin.rotate("upstream", ALICE)
    await scene.until(engine, Phase.PROMOTE)
    info = await admin.roll_back("upstream", ALICE)
    assert (info.phase, info.finished, info.error) == ("rollback", False, "")
    assert (await scene.until(engine, Phase.ROLLED_BACK)).emit == 1
    async with scene.store.begin() as work:
        events = await work.events.recent()
    assert [event.actor for event in events if event.act == "rotation.rollback"] == [ALICE.label]


async def test_what_went_wrong_has_a_name_until_it_is_mended(scene: Scene) -> None:
    engine = scene.engine()
    admin = scene.definitions(engine)
    await scene.until(engine, Phase.AWAITING_DESTROY)
    good = await admin.rotation("upstream")
    assert (good.finished, good.error) == (True, "")
    scene.provider.down = True
    await admin.rotate("upstream", ALICE)
    await scene.until(engine, Phase.CREATE)
    assert (await admin.rotation("upstream")).error == "provider_unavailable"
    scene.provider.down = False
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)
    assert (await admin.rotation("upstream")).error == ""


async def test_a_used_secret_stays_where_it_is(scene: Scene) -> None:
    engine = scene.engine()
    admin = scene.definitions(engine)
    moved = {"path": "elsewhere", "provider": {"kind": "http", "url": "http://localhost"}}
    await scene.until(engine, Phase.AWAITING_DESTROY)
    with pytest.raises(InvalidInput) as refused:
        await admin.define("upstream", moved, ALICE)
    assert [(problem.path, problem.code) for problem in refused.value.problems] == [("path", "immutable")]
    await admin.define("upstream", {**moved, "path": scene.definition.path}, ALICE)


async def test_an_unknown_secret_is_not_found(scene: Scene) -> None:
    for act in (scene.engine().rotate("other", by="a"), scene.engine().roll_back("other", by="a")):
        with pytest.raises(NotFound):
            await act
