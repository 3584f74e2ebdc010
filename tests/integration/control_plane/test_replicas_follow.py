"""Two replicas over one PostgreSQL, in one process: what one writes the other knows, told or not; one that is behind serves nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bartizan.api import IssueKey
from bartizan.errors import BartizanError, Conflict, DependencyUnavailable, Forbidden
from bartizan.policy.canonical import canonical
from bartizan.policy.keyset import KeySet
from bartizan.policy.names import TYPE_KEY_SET
from bartizan.policy.signing import LocalSigner
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.service import FleetService
from control_plane.policies.actor import Actor
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.push import replicas as timing
from control_plane.push.publish import Publisher
from control_plane.push.replicas import Following, Replicas
from control_plane.store.base import InstanceRow, ReportRow, RotationRow
from control_plane.store.sql.store import SqlStore, open_store
from protos.gen.bartizan.fleet.v1 import fleet_pb2
from protos.gen.bartizan.identity.v1 import identity_pb2
from tests.support.postgres import needs_postgres, postgres

pytestmark = [
    needs_postgres,
    pytest.mark.xdist_group("replicas-follow"),
    pytest.mark.asyncio(loop_scope="module"),
]

ACTOR = Actor(token_id="t", name="tester", role="admin")
ID = "spiffe://test/ns/prod/sa/chat"
POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {{name: {name}, namespace: prod}}
spec:
  selector: {{matchLabels: {{app: {app}}}}}
  listener: {{port: 8443, tls: none}}
  model: {{name: m, protocol: opaque, port: 8000}}
  routes: [{{path: /x}}]
  tenants: [acme]
  authn: {{apiKeys: {{set: chat-set}}}}
"""
PEM = ed25519.Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


class Signer:
    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        local = LocalSigner(PEM)
        return local.key_id, local.sign(payload)


def unsigned(key_set: KeySet) -> identity_pb2.KeySet:
    return identity_pb2.KeySet(name=key_set.name, payload=canonical(key_set))


class Replica:
    """A control plane without its edges; `caught_up` counts how often it looked at the rotations."""

    def __init__(self, name: str, store: SqlStore) -> None:
        self.store = store
        self.caught_up = 0
        self.following = Following(alone=False)
        self.ledger = Ledger(shared=store.shared)
        self.publisher = Publisher(store, self.ledger, unsigned, follows=self.following)
        self.fleet = FleetService(self.ledger, store, replica=name, follows=self.following)
        self.policies = Policies(store, Signer(), self.publisher.policy_changed)
        self.keys = Keys(store, self.publisher.key_set_changed)
        self.replicas = Replicas(
            store,
            name=name,
            following=self.following,
            ledger=self.ledger,
            fleet=self.fleet,
            publisher=self.publisher,
            catch_up=self._catch_up,
        )

    async def _catch_up(self) -> None:
        self.caught_up += 1

    async def report(self, sequence: int, *, version: int = 1, replica: str, live: bool = True) -> None:
        """As FleetService writes what sidecar i1 told."""
        report = fleet_pb2.InstanceReport(instance_id="i1", boot_id="b", sequence=sequence)
        report.policy.policy, report.policy.version = "prod/chat", version
        row = ReportRow(
            instance_id="i1",
            boot_id="b",
            sequence=sequence,
            received_at=time.time(),
            report=report.SerializeToString(),
            replica=replica,
            live=live,
        )
        async with self.store.begin() as work:
            await work.instances.put_reports([row], now=await work.now())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Replica]:
        await self.fleet.load()
        await self.replicas.look()
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(each.run()) for each in (self.replicas, self.fleet)]
            try:
                yield self
            finally:
                for helper in helpers:
                    helper.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="url")
async def _url() -> AsyncIterator[str]:
    async with postgres() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", name="pair")
async def _pair(url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    async with AsyncExitStack() as stack:
        stores = [await open_store(url) for _ in range(2)]
        for store in stores:
            stack.push_async_callback(store.close)
        one, two = (Replica(name, store) for name, store in zip(("one", "two"), stores, strict=True))
        await one.keys.create_set("chat-set", ACTOR)
        async with one.store.begin() as work:
            for name in ("i1", "i2"):
                if await work.instances.get(name) is None:
                    await work.instances.add(instance(name))
        for each in (one, two):
            await stack.enter_async_context(each.running())
        yield one, two


def instance(name: str) -> InstanceRow:
    return InstanceRow(
        instance_id=name, spiffe_id=ID, namespace="prod", labels={"app": "chat"}, created_at=1.0
    )


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


async def changes(one: Replica, two: Replica) -> None:
    """Each kind of change made at one is known at two."""
    applied = await one.policies.apply(POLICY.format(name="chat", app="chat").encode(), ACTOR)
    await until(
        lambda: (wanted := two.ledger.wanted("prod/chat")) is not None and wanted.version == applied.version
    )

    subscriber = await two.publisher.subscribe("i1", ID)
    issued = await one.keys.issue("chat-set", IssueKey(tenant="acme"), ACTOR)
    version, _ = await one.keys.keys("chat-set")
    await until(lambda: two.ledger.key_set_version("chat-set") == version)
    await one.keys.revoke("chat-set", issued.id, ACTOR)
    newest = f"chat-set@{version + 1}"
    await until(lambda: subscriber.publication.current.types[TYPE_KEY_SET].version == newest)
    two.publisher.unsubscribe(subscriber)

    sequence = time.monotonic_ns()
    await one.report(sequence, version=applied.version, replica="one")
    await until(lambda: two.ledger.is_live("i1"))
    (row,) = [row for row in two.ledger.rows("prod/chat") if row.instance_id == "i1"]
    assert row.version == applied.version

    name = f"i-{sequence}"
    async with one.store.begin() as work:
        await work.instances.add(instance(name))
    await until(lambda: two.ledger.instance(name) is not None)
    stream = await two.publisher.subscribe(name, ID)
    async with one.store.begin() as work:
        await work.instances.remove(name, at=2.0)
    await until(lambda: two.ledger.instance(name) is None)
    with pytest.raises(Forbidden):
        await stream.publication.changed(stream.publication.current)

    seen = two.caught_up
    rotation = RotationRow(secret=name, version=1, intent="i", phase="plan", state="{}", updated_at=1.0)
    async with one.store.begin() as work:
        assert await work.rotations.compare_and_set(rotation, 0)
    await until(lambda: two.caught_up > seen)

    await one.policies.delete("prod/chat", ACTOR)
    await until(lambda: two.ledger.wanted("prod/chat") is None)


async def test_what_one_replica_changes_is_told_to_the_other(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "EVERY", 3600.0)  # no look of its own: all that is known was told
    monkeypatch.setattr(timing, "BEHIND", 3600.0)
    for each in pair:
        await each.replicas.look()
    await changes(*pair)


async def test_what_was_not_told_is_found_by_looking(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "EVERY", 0.05)
    monkeypatch.setattr(Replicas, "_hear", lambda _self, _change: None)
    for each in pair:
        await each.replicas.look()
    await changes(*pair)


async def test_replicas_whose_connections_were_cut_hear_each_other_again(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "EVERY", 3600.0)
    monkeypatch.setattr(timing, "BEHIND", 3600.0)
    engine = create_async_engine(str(pair[0].store._engine.url))
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'"
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()"
    async with engine.connect() as connection:
        await connection.execute(text(cut))
        await connection.commit()
        async with asyncio.timeout(30):
            while (await connection.execute(text(listening))).scalar_one() < len(pair):
                await asyncio.sleep(0.05)
                await connection.commit()
    await engine.dispose()
    await changes(*pair)


async def test_a_replica_that_ends_takes_its_sidecars_along(pair: tuple[Replica, Replica]) -> None:
    one, two = pair
    async with AsyncExitStack() as stack:
        store = await open_store(str(one.store._engine.url))
        stack.push_async_callback(store.close)
        third = Replica("three", store)
        async with third.running():
            await third.report(time.monotonic_ns(), replica="three")
            await two.replicas.look()
            assert two.ledger.is_live("i1")
        await two.replicas.look()
        assert not two.ledger.is_live("i1")


async def test_a_replica_that_comes_back_does_not_vouch_for_whom_it_has_not_heard(
    pair: tuple[Replica, Replica],
) -> None:
    one, two = pair
    await one.report(time.monotonic_ns(), replica="one")
    await two.replicas.look()
    assert two.ledger.is_live("i1")
    again = Replica("one", one.store)
    await again.fleet.load()
    await two.replicas.look()
    assert not two.ledger.is_live("i1")
    assert not again.ledger.is_live("i1")


async def test_a_replica_that_is_behind_serves_nobody_until_it_has_caught_up(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, two = pair
    stream = await two.publisher.subscribe("i2", ID)
    away = True

    async def unreachable(_self: Replicas) -> None:
        if away:
            raise DependencyUnavailable("the store can't be reached")
        await look(_self)

    look = Replicas._look
    monkeypatch.setattr(Replicas, "_look", unreachable)
    monkeypatch.setattr(timing, "BEHIND", 0.3)
    with pytest.raises(DependencyUnavailable):
        async with asyncio.timeout(30):
            await stream.publication.changed(stream.publication.current)
    assert not two.following()
    for refused in (two.publisher.subscribe("i2", ID), two.replicas.look()):
        with pytest.raises(DependencyUnavailable):
            await refused
    monkeypatch.setattr(timing, "BEHIND", 8.0)
    away = False
    await until(two.following)
    assert (await two.publisher.subscribe("i2", ID)).instance.instance_id == "i2"


async def test_of_two_policies_for_the_same_sidecars_applied_at_once_one_is_stored(
    pair: tuple[Replica, Replica],
) -> None:
    async def apply(replica: Replica, name: str) -> BartizanError | None:
        try:
            await replica.policies.apply(POLICY.format(name=name, app="rival").encode(), ACTOR)
        except Conflict as error:
            return error
        return None

    for turn in range(5):
        names = [f"rival-{turn}-{number}" for number in range(2)]
        outcomes: list[Awaitable[BartizanError | None]] = [
            apply(each, name) for each, name in zip(pair, names, strict=True)
        ]
        refused = [one for one in await asyncio.gather(*outcomes) if one is not None]
        assert len(refused) == 1
        stored = {state.row.name for state in await pair[0].policies.states() if "rival" in state.row.name}
        assert len(stored) == 1
        for name in stored:
            await pair[0].policies.delete(name, ACTOR)
