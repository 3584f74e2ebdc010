"""Rotations with a real OpenBao, a real SQLite store and a provider over a unix socket: what is in use and what is revoked."""

from __future__ import annotations

import asyncio

import pytest

from bartizan.errors import Conflict
from control_plane.secrets.rotation.machine import Phase
from tests.support.rotation_scene import Scene


async def test_a_definition_alone_gets_its_first_key(scene: Scene) -> None:
    state = await scene.until(scene.engine(), Phase.AWAITING_DESTROY)
    assert state.emit == 1
    [(generation, value)] = scene.sent
    assert generation == 1
    assert value in scene.accepted()


async def test_a_rotation_ends_with_the_new_key_in_use_and_the_old_one_refused(scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    scene.nodes = {"a": "1", "b": "1"}
    old = scene.sent[-1][1]
    await engine.rotate("upstream", by="alice")
    with pytest.raises(Conflict):
        await engine.rotate("upstream", by="bob")
    state = await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)
    assert (state.from_generation, state.to_generation) == (1, 2)
    assert scene.accepted() == {scene.sent[-1][1]}
    assert old not in scene.accepted()
    async with scene.store.begin() as work:
        acts = [(event.actor, event.act) for event in await work.events.recent(limit=8)]
    assert acts[:7] == [
        ("control-plane", "rotation.awaiting_destroy"),
        ("control-plane", "rotation.retire"),
        ("control-plane", "rotation.drain"),
        ("control-plane", "rotation.promote"),
        ("control-plane", "rotation.stage"),
        ("control-plane", "rotation.create"),
        ("alice", "rotation.plan"),
    ]


async def test_a_sidecar_that_is_behind_keeps_the_old_key_alive(scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    scene.nodes, scene.deaf = {"a": "1", "b": "1"}, True
    await engine.rotate("upstream", by="alice")
    state = await scene.until(engine, Phase.PROMOTE, more=lambda state: state.waiting == "instances")
    assert state.behind == ("a", "b")
    assert len(scene.accepted()) == 2
    scene.nodes = {"a": "2", "b": "2"}
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)


async def test_a_key_that_a_cut_off_sidecar_may_still_emit_is_not_revoked(scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    scene.nodes, scene.lost = {"a": "1"}, {"a"}
    await engine.rotate("upstream", by="alice")
    await scene.until(engine, Phase.PROMOTE, more=lambda state: state.waiting == "instances")
    await asyncio.sleep(0.2)
    state = await scene.until(engine, Phase.PROMOTE)
    assert state.behind == ("instance_lost:a",)
    info = await scene.definitions(engine).rotation("upstream")
    assert info.waiting_for == ("instances", "instance_lost:a")
    assert scene.sent[0][1] in scene.accepted()
    scene.nodes = {}  # removed by an operator
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)
    assert scene.sent[0][1] not in scene.accepted()


async def test_rolling_back_returns_to_the_old_key_and_discards_the_new_one(scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    scene.nodes, scene.deaf = {"a": "1"}, True
    await engine.rotate("upstream", by="alice")
    await scene.until(engine, Phase.PROMOTE)
    await engine.roll_back("upstream", by="alice")
    scene.deaf = False
    state = await scene.until(engine, Phase.ROLLED_BACK)
    assert state.emit == 1
    assert [generation for generation, _ in scene.sent] == [1, 2, 1]
    assert scene.accepted() == {scene.sent[0][1]}
    await asyncio.sleep(0.1)
    await engine.advance_all()
    assert (await scene.until(engine, Phase.ROLLED_BACK)) == state, "its own leftover version starts nothing"
    await engine.rotate("upstream", by="alice")
    assert (await scene.until(engine, Phase.AWAITING_DESTROY)).emit == 3


async def test_a_version_that_an_operator_wrote_is_rotated_in(scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    scene.nodes = {"a": "1"}
    scene.provider.keys["by-hand"] = ("by hand", "operators-key")
    await scene.vault.kv_write(scene.definition.path, {"value": "operators-key"}, 1)
    state = await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)
    assert state.base_version == 2
    assert scene.accepted() == {"operators-key"}
    await engine.rotate("upstream", by="alice")
    state = await scene.until(engine, Phase.RETIRE, more=lambda state: bool(state.waiting))
    assert state.waiting == "operator_revokes_old_key"
    del scene.provider.keys["by-hand"]
    await scene.until(engine, Phase.AWAITING_DESTROY)


async def test_a_key_that_its_verifier_refuses_is_never_published(scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    await scene.vault.kv_write(scene.definition.path, {"value": "nobody-knows-this"}, 1)
    await scene.until(engine, Phase.STAGE, more=lambda state: state.waiting == "verifier_refuses_new_key")
    assert (await scene.definitions(engine).rotation("upstream")).error == "verifier_refuses_new_key"
    assert [generation for generation, _ in scene.sent] == [1]
    await engine.roll_back("upstream", by="alice")
    assert (await scene.until(engine, Phase.ROLLED_BACK)).emit == 1


async def test_a_value_that_could_smuggle_a_header_is_never_published(scene: Scene) -> None:
    await scene.vault.kv_write(scene.definition.path, {"value": "a\r\nx-evil: 1"}, 0)
    engine = scene.engine()
    for _ in range(20):
        await engine.advance_all()
    assert scene.sent == []
    assert engine.trouble("upstream") == "value_unusable"


async def test_no_key_appears_in_what_a_rotation_logs(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    await engine.rotate("upstream", by="alice")
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)
    logged = "".join(capfd.readouterr())
    assert "rotation_phase" in logged
    for _, value in scene.sent:
        assert value not in logged
