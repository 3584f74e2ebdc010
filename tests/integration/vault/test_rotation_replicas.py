"""A replica that was stopped in the middle of an act wakes while another one leads: nothing that it does then takes effect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bartizan.errors import Conflict, DependencyUnavailable
from control_plane.secrets.providers.http import Http
from control_plane.secrets.rotation import lead
from control_plane.secrets.rotation.effects import Hands
from control_plane.secrets.rotation.emits import Emits
from control_plane.secrets.rotation.engine import RotationEngine
from control_plane.secrets.rotation.journal import Entry
from control_plane.secrets.rotation.machine import Phase, Rotation
from control_plane.secrets.vault import Vault
from control_plane.store.clock import boot_time
from tests.support.rotation_scene import Scene


class Asleep:
    """Stops the first call of a method before or after its act, until it is woken."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool) -> None:
        self.reached, self.awake = asyncio.Event(), asyncio.Event()
        original = getattr(owner, name)

        async def stopping(*args: Any, **more: Any) -> Any:
            first = not self.reached.is_set()
            self.reached.set()
            if first and not after:
                await self.awake.wait()
            made = await original(*args, **more)
            if first and after:
                await self.awake.wait()
            return made

        patch.setattr(owner, name, stopping)


async def taken_over(scene: Scene, other: RotationEngine) -> None:
    """The sleeper's lease is over; the other replica leads and ends the rotation."""
    async with scene.store.begin() as work:
        await work.leases.release("rotation", "replica-1")
    await scene.until(other, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (Http, "names", True),
        (Http, "create", False),
        (Http, "create", True),
        (Vault, "kv_write", False),
        (Http, "accepts", True),
    ],
    ids=["listed", "before-create", "created", "before-store", "accepted"],
)
async def test_a_leader_that_wakes_late_leaves_one_key_that_is_in_use(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: bool
) -> None:
    first, second = scene.engine(), scene.engine(holder="replica-2")
    await scene.until(first, Phase.AWAITING_DESTROY)
    scene.nodes = {"a": "1"}
    await first.rotate("upstream", by="alice")
    sleeper = Asleep(monkeypatch, owner, name, after=after)
    async with asyncio.TaskGroup() as group:
        acting = group.create_task(_advance(first, sleeper))
        await sleeper.reached.wait()
        await taken_over(scene, second)
        sleeper.awake.set()
        await acting
    await scene.until(second, Phase.AWAITING_DESTROY)
    value = (await scene.vault.kv_read(scene.definition.path, 2)).data["value"]
    assert scene.accepted() == {value}
    assert scene.nodes == {"a": "2"}


async def _advance(engine: RotationEngine, sleeper: Asleep) -> None:
    while not sleeper.awake.is_set():
        await engine.advance_all()
    for _ in range(3):
        await engine.advance_all()


async def test_an_older_word_whose_value_is_still_being_read_does_not_overtake_a_newer_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for newest, value in enumerate(("first", "second")):
        await scene.vault.kv_write(scene.definition.path, {"value": value}, cas=newest)
    emits = Emits(Hands(scene.vault, scene.publish, lead.Leadership(scene.store, "replica-1").confirm))
    await emits.publish(scene.definition, word(1, emit=1))
    sleeper = Asleep(monkeypatch, Vault, "kv_read", after=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(emits.publish(scene.definition, word(2, emit=2)))
        await sleeper.reached.wait()
        assert await emits.hold(scene.definition, word(3, emit=1)), "rolled back elsewhere"
        sleeper.awake.set()
    assert scene.sent == [(1, "first"), (1, "first")]
    await emits.publish(scene.definition, word(4, emit=2))
    assert scene.sent[2:] == [(2, "second")]


def word(version: int, *, emit: int) -> Entry:
    state = Rotation(
        secret="upstream",
        intent="i",
        phase=Phase.AWAITING_DESTROY,
        emit=emit,
        from_generation=0,
        to_generation=emit,
        base_version=emit,
        old_key_id="",
        phase_at=0.0,
    )
    return Entry(state=state, version=version)


async def test_before_an_act_that_can_not_be_taken_back_the_lease_is_asked_for_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = boot_time()
    monkeypatch.setattr(lead, "boot_time", lambda: now)
    leader = lead.Leadership(scene.store, "replica-1")
    assert await leader.ask()
    async with scene.store.begin() as work:
        await work.leases.release("rotation", "replica-1")
        assert await work.leases.acquire("rotation", "replica-2", now=await work.now(), ttl=60) is not None
    assert await leader.ask(), "it has not noticed yet"
    with pytest.raises(Conflict):
        await leader.confirm()
    assert not await leader.ask()

    again = lead.Leadership(scene.store, "replica-2")
    assert await again.ask()
    now += 9
    async with scene.store.begin() as work:
        await work.leases.release("rotation", "replica-2")
        await work.leases.acquire("rotation", "replica-1", now=await work.now(), ttl=60)
    assert not await again.ask(), "time in which it stood still counts"


async def test_a_replica_without_the_newest_value_gives_nobody_an_older_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads, follows = scene.engine(), scene.engine(holder="replica-2")
    published: list[tuple[int, bool]] = []

    async def publish(name: str, generation: int, value: str | None) -> None:
        assert name == "upstream"
        published.append((generation, value is not None))

    follows._hands._publish = publish
    await scene.until(leads, Phase.AWAITING_DESTROY)
    await follows.advance_all()
    assert published == [(1, True)]
    await leads.rotate("upstream", by="alice")
    scene.nodes = {"a": "1"}
    await scene.until(leads, Phase.AWAITING_DESTROY, more=lambda state: state.emit == 2)

    with monkeypatch.context() as patch:

        async def away(*_args: Any) -> None:
            raise DependencyUnavailable("Vault is away")

        patch.setattr(Vault, "kv_read", away)
        await follows.catch_up()
        await follows.advance_all()
        await follows.catch_up()
    assert published[1:] == [(2, False)]
    await follows.advance_all()
    assert published[2:] == [(2, True)]
