"""Rotations with a real OpenBao, a real SQLite store and a provider over a unix socket: to the end from every crash point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bartizan.errors import Conflict, InvalidInput, NotFound
from control_plane.policies.actor import Actor
from control_plane.policies.definitions import Definitions
from control_plane.secrets.providers.http import Http
from control_plane.secrets.rotation.engine import RotationEngine
from control_plane.secrets.rotation.journal import Journal
from control_plane.secrets.rotation.machine import Phase, Rotation
from control_plane.secrets.vault import Vault
from tests.support.rotation_scene import Scene, rotation_scene

ALICE = Actor(token_id="t", name="alice", role="operator")


class Crash(BaseException):
    """The process ends here: no handler of the code under test may see it as an error."""


@pytest.fixture
async def scene(vault: Vault, tmp_path: Path) -> AsyncIterator[Scene]:
    async with rotation_scene(vault, tmp_path) as made:
        yield made


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
    info = await definitions(scene, engine).rotation("upstream")
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
    assert (await definitions(scene, engine).rotation("upstream")).error == "verifier_refuses_new_key"
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


def definitions(scene: Scene, engine: RotationEngine) -> Definitions:
    return Definitions(scene.store, lambda: engine)


async def test_an_admin_rolls_back_until_the_old_key_is_being_revoked(scene: Scene) -> None:
    engine = scene.engine()
    admin = definitions(scene, engine)
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
    admin = definitions(scene, engine)
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
    admin = definitions(scene, engine)
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


async def test_while_vault_is_away_create_waits_and_retire_is_held(server: Any, scene: Scene) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    scene.nodes, scene.deaf = {"a": "1"}, True
    await engine.rotate("upstream", by="alice")
    await scene.until(engine, Phase.PROMOTE)
    server.bao.freeze()
    try:
        await scene.vault.check()
        scene.nodes = {"a": "2"}
        await scene.until(engine, Phase.DRAIN, more=lambda state: state.waiting == "vault_away")
        assert len(scene.accepted()) == 2, "the old key still works: going back is possible"
    finally:
        server.bao.resume()
    while not (await scene.vault.check()).healthy:
        await asyncio.sleep(0.1)
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)


@pytest.mark.parametrize("phase", [Phase.PLAN, Phase.CREATE, Phase.STAGE, Phase.PROMOTE, Phase.RETIRE])
async def test_killing_openbao_in_any_phase_delays_the_rotation_and_nothing_else(
    server: Any, scene: Scene, phase: Phase
) -> None:
    engine = scene.engine()
    await scene.until(engine, Phase.AWAITING_DESTROY)
    scene.nodes = {"a": "1"}
    await engine.rotate("upstream", by="alice")
    state = await _stop_at(scene, engine, phase)
    await server.arun(server.bao.kill())
    try:
        for _ in range(3):
            await engine.advance_all()
        assert {str(state.emit)} == set(scene.nodes.values())
        [key] = {value for generation, value in scene.sent if generation == state.emit}
        assert key in scene.accepted(), "what sidecars use works all the time"
    finally:
        await server.arun(server.bao.start())
    assert (await scene.vault.check()).healthy
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)
    assert len(scene.accepted()) == 1


async def _stop_at(scene: Scene, engine: RotationEngine, phase: Phase) -> Rotation:
    """Go on until this phase is journalled, and no further."""
    state = await engine.status("upstream")
    if state is not None and state.phase is phase:
        return state

    async def save(self: Journal, before: Any, after: Rotation, **more: Any) -> Any:
        saved = await original(self, before, after, **more)
        if after.phase is phase:
            raise Crash
        return saved

    original = Journal.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "save", save)
        with pytest.raises(Crash):
            await scene.until(engine, Phase.AWAITING_DESTROY)
    state = await engine.status("upstream")
    assert state is not None
    return state


async def test_of_two_replicas_one_leads_and_both_publish(scene: Scene) -> None:
    first, second = scene.engine(), scene.engine(holder="replica-2")
    await scene.until(first, Phase.AWAITING_DESTROY)
    await second.advance_all()
    assert [generation for generation, _ in scene.sent] == [1, 1]
    await second.rotate("upstream", by="alice")
    for _ in range(5):
        await second.advance_all()
    state = await second.status("upstream")
    assert state is not None
    assert state.phase is Phase.PLAN, "asked for anywhere, moved on by the leader only"
    await scene.until(first, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)


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


async def test_every_crash_point_leads_to_the_same_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.until(scene.engine(), Phase.AWAITING_DESTROY)
    scene.nodes = {"a": "1", "b": "1"}
    points, generation, crashed = 0, 1, True
    while crashed:
        points += 1
        crashed = False
        with monkeypatch.context() as patch:
            _crash_at(patch, scene, [points])
            engine = scene.engine()
            try:
                await engine.rotate("upstream", by="alice")
                await scene.until(engine, Phase.AWAITING_DESTROY)
            except Crash:
                crashed = True
        engine = scene.engine()  # a new process: only the store, OpenBao and the provider remember
        state = await scene.until(engine, Phase.AWAITING_DESTROY)
        if state.emit == generation:  # it died before the first journal write: nothing has begun
            assert points == 1
            await engine.rotate("upstream", by="alice")
            state = await scene.until(engine, Phase.AWAITING_DESTROY)
        assert state.emit > generation
        generation = state.emit
        names = [name for name, _ in scene.provider.keys.values()]
        assert names == [state.key_name], f"crash point {points}"
        value = (await scene.vault.kv_read(scene.definition.path, generation)).data["value"]
        assert scene.accepted() == {value}, f"crash point {points}"
        assert set(scene.nodes.values()) == {str(generation)}, f"crash point {points}"
    assert points > 20


def _crash_at(patch: pytest.MonkeyPatch, scene: Scene, countdown: list[int]) -> None:
    """Count every act on the world; the process dies before the countdown-th, or right after it was done."""

    def mortal(act: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            _tick(countdown)
            result = await act(*args, **kwargs)
            _tick(countdown)
            return result

        return wrapped

    for owner, name in (
        (Journal, "save"),
        (Http, "create"),
        (Http, "revoke"),
        (Vault, "kv_write"),
        (Scene, "publish"),
    ):
        patch.setattr(owner, name, mortal(getattr(owner, name)))


def _tick(countdown: list[int]) -> None:
    countdown[0] -= 1
    if countdown[0] == 0:
        raise Crash
