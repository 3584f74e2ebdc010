"""Rotations with a real OpenBao come to the same end from every crash point, and while OpenBao is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.secrets.providers.http import Http
from control_plane.secrets.rotation import lead
from control_plane.secrets.rotation.engine import RotationEngine
from control_plane.secrets.rotation.journal import Journal
from control_plane.secrets.rotation.machine import Phase, Rotation
from control_plane.secrets.vault import Vault
from tests.support.rotation_scene import Scene


class Crash(BaseException):
    """The process ends here: no handler of the code under test may see it as an error."""


@pytest.mark.parametrize("deadline", [1.0])
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
    await _healthy(scene.vault)
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)


@pytest.mark.parametrize("deadline", [3.0])
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
    await _healthy(scene.vault)
    await scene.until(engine, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)
    assert len(scene.accepted()) == 1


async def _healthy(vault: Vault) -> None:
    async with asyncio.timeout(60):
        while not (await vault.check()).healthy:
            await asyncio.sleep(0.1)


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


async def test_of_two_replicas_one_leads_and_both_publish(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead, "_SECONDS", 600.0)  # the one that leads asks for nothing meanwhile
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
