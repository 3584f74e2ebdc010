"""Who is served: not a sidecar that is removed while its stream opens. What a change asks of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.api import IssueKey
from bartizan.errors import Forbidden
from bartizan.policy.canonical import canonical
from bartizan.policy.keyset import KeySet
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Observation
from control_plane.policies.actor import Actor
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.push.publish import Publisher
from control_plane.push.sign import FileSigner
from control_plane.store.base import InstanceRow
from control_plane.store.sql.store import SqlStore, SqlWork, open_store
from protos.gen.bartizan.identity.v1 import identity_pb2

ADMIN = Actor(token_id="t", name="a", role="admin")
ID = "spiffe://test/ns/prod/sa/chat"
POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: chat, namespace: prod}
spec:
  selector: {matchLabels: {app: chat}}
  listener: {tls: none}
  model: {name: m, protocol: openai}
  tenants: [acme]
  authn: {apiKeys: {set: SET}}
"""


class SlowStore(SqlStore):
    """A store whose transactions wait for `let_through` while it is held."""

    waiting = 0
    begun = 0
    let_through: asyncio.Semaphore | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlWork]:
        self.begun += 1
        if self.let_through is not None:
            self.waiting += 1
            await self.let_through.acquire()
            self.waiting -= 1
        async with super().begin() as work:
            yield work


def unsigned(key_set: KeySet) -> identity_pb2.KeySet:
    return identity_pb2.KeySet(name=key_set.name, payload=canonical(key_set))


@pytest.fixture(name="store")
async def _store() -> AsyncIterator[SlowStore]:
    opened = await open_store()
    yield SlowStore(opened._engine)
    await opened.close()


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    return FileSigner(tmp_path / "key.pem")


async def test_a_sidecar_that_is_removed_while_its_stream_opens_is_not_served(
    store: SlowStore, signer: FileSigner
) -> None:
    ledger = Ledger()
    publisher = Publisher(store, ledger, unsigned)
    policies = Policies(store, signer, publisher.policy_changed)
    row = InstanceRow(instance_id="i", spiffe_id=ID, namespace="prod", labels={"app": "chat"}, created_at=1.0)
    async with store.begin() as work:
        await work.instances.add(row)
    await publisher.start()
    for key_set in ("old", "new"):
        await policies.apply(POLICY.replace("SET", key_set).encode(), ADMIN)
    await publisher.instance_changed("i")
    ledger.observe("i", Observation(boot_id="b", sequence=1, policy="prod/chat", version=1))

    store.let_through = asyncio.Semaphore(1)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        opening = group.create_task(refusal(publisher))
        while not (store.let_through.locked() and store.waiting):
            await asyncio.sleep(
                0
            )  # until it has read its row, and waits to read the version that it enforces
        await publisher.instance_removed("i")
        store.let_through.release()
    assert opening.result() == "no such instance of this identity"


async def test_a_change_is_three_transactions_and_what_was_just_stored_is_not_read_again(
    store: SlowStore, signer: FileSigner
) -> None:
    """What MeshPolicies say, what there is, and the change itself: each is part of the time until it is in force."""
    ledger = Ledger()
    publisher = Publisher(store, ledger, unsigned)
    policies = Policies(store, signer, publisher.policy_changed)
    await publisher.start()
    await policies.apply(POLICY.replace("SET", "keys").encode(), ADMIN)
    before = store.begun
    await policies.apply(POLICY.replace("SET", "keys").replace("acme", "other").encode(), ADMIN)
    assert store.begun - before == 3
    wanted = ledger.wanted("prod/chat")
    assert wanted is not None
    assert (wanted.version, wanted.revision, wanted.key_set) == (2, 2, "keys")


async def test_a_key_set_is_the_newest_one_whenever_a_policy_names_it_again(
    store: SlowStore, signer: FileSigner
) -> None:
    ledger = Ledger()
    publisher = Publisher(store, ledger, unsigned)
    policies = Policies(store, signer, publisher.policy_changed)
    keys = Keys(store, publisher.key_set_changed)
    await publisher.start()
    await keys.create_set("keys", ADMIN)
    for named in ("keys", "others"):
        await policies.apply(POLICY.replace("SET", named).encode(), ADMIN)
    assert ledger.key_set_version("keys") == 1
    await keys.issue("keys", IssueKey(tenant="acme"), ADMIN)
    await policies.apply(POLICY.replace("SET", "keys").encode(), ADMIN)
    assert ledger.key_set_version("keys") == 2


async def refusal(publisher: Publisher) -> str:
    with pytest.raises(Forbidden) as refused:
        await publisher.subscribe("i", ID)
    return str(refused.value)
