"""A replica follows the rotations of others, also beside one that only a newer release can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from control_plane.secrets.definition import HttpProvider, SecretDefinition, encode_definition
from control_plane.secrets.rotation.barriers import Use
from control_plane.secrets.rotation.engine import RotationEngine
from control_plane.secrets.rotation.machine import Phase, Rotation
from control_plane.secrets.rotation.settings import RotationSettings
from control_plane.secrets.vault import Vault, VaultSettings
from control_plane.store.base import RotationRow, SecretRow
from control_plane.store.sql.store import SqlStore, SqlWork, open_store


class CountingStore(SqlStore):
    """A store that counts its transactions."""

    begun = 0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlWork]:
        self.begun += 1
        async with super().begin() as work:
            yield work


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    made = await open_store()
    yield CountingStore(made._engine)
    await made.close()


class Replica:
    """An engine that does not lead and was told values before; what it publishes is kept."""

    def __init__(self, store: SqlStore, settings: RotationSettings | None = None) -> None:
        self.given: list[tuple[str, int, str | None]] = []
        vault = Vault(VaultSettings(address="http://127.0.0.1:1", token_file=Path("/nonexistent")))
        self.engine = RotationEngine(
            store=store,
            backend=vault,
            publish=self.publish,
            users=self.nobody,
            holder="r",
            settings=settings,
        )
        for name in ("first", "second"):
            self.engine._hands._values[f"keys/{name}", 1] = f"value of {name}"

    async def publish(self, name: str, generation: int, value: str | None) -> None:
        self.given.append((name, generation, value))

    async def nobody(self, _name: str) -> Mapping[str, Use]:
        return {}


def definition(name: str) -> str:
    return encode_definition(SecretDefinition(name=name, path=f"keys/{name}", provider=HttpProvider()))


async def put(
    store: SqlStore, name: str, *, stored: str = "", phase: str = "promote", version: int = 1
) -> None:
    state = Rotation(
        secret=name, intent="i", phase=Phase.PROMOTE, emit=1, from_generation=0, to_generation=1,
        base_version=1, old_key_id="", phase_at=1.0,
    )  # fmt: skip
    document = msgspec.json.encode({**msgspec.to_builtins(state), "phase": phase}).decode()
    row = RotationRow(secret=name, version=version, intent="i", phase=phase, state=document, updated_at=1.0)
    async with store.begin() as work:
        await work.secrets.put(
            SecretRow(
                name=name,
                definition=stored or definition(name),
                created_at=1.0,
                created_by="a",
                updated_at=1.0,
            )
        )
        assert await work.rotations.compare_and_set(row, version - 1)


@pytest.mark.parametrize(
    "newer", [{"phase": "rehearse"}, {"stored": definition("first")[:-1] + ',"of_a_newer_release":1}'}]
)
async def test_what_a_newer_release_wrote_of_one_secret_keeps_no_replica_from_following_the_others(
    store: SqlStore, newer: dict[str, str]
) -> None:
    replica = Replica(store)
    await put(store, "first", **newer)  # type: ignore[arg-type]
    await put(store, "second")
    await replica.engine.catch_up()
    await replica.engine.advance_all()
    assert replica.given == [("second", 1, "value of second")]
    assert replica.engine.trouble("first") == "definition_unusable"


async def test_a_look_at_many_secrets_is_one_transaction_beside_that_of_the_lease(
    store: CountingStore,
) -> None:
    """A fleet that stirs makes every replica look several times a second."""
    replica = Replica(store)
    for number in range(10):
        replica.engine._hands._values[f"keys/s{number}", 1] = "value"
        await put(store, f"s{number}")
    async with store.begin() as work:
        await work.leases.acquire("rotation", "another replica", now=await work.now(), ttl=600.0)
    before = store.begun
    await replica.engine.advance_all()
    assert len(replica.given) == 10
    assert store.begun - before <= 2


async def test_a_secret_that_can_no_longer_be_followed_is_given_to_nobody_anew(store: SqlStore) -> None:
    replica = Replica(store)
    await put(store, "first")
    await replica.engine.catch_up()
    await put(store, "first", phase="rehearse", version=2)
    await replica.engine.catch_up()
    assert replica.given == [("first", 1, "value of first"), ("first", 0, None)]


async def test_a_fleet_that_stirs_makes_nobody_look_while_no_rotation_waits_for_it(
    store: CountingStore,
) -> None:
    replica = Replica(store, RotationSettings(tick=0.001, poll=600.0))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(replica.engine.run())

        async def looks_after(change: Callable[[], None]) -> bool:
            await asyncio.sleep(0.1)  # at rest
            before = store.begun
            change()
            await asyncio.sleep(0.1)
            return store.begun > before

        assert not await looks_after(replica.engine.stirred)
        assert await looks_after(replica.engine.wake)
        running.cancel()
