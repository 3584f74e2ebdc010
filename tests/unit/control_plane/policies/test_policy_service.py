"""The policy service: no record, no act; no signature, no revision; of two replicas one wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from sqlalchemy import create_engine, text

from bartizan.errors import BartizanError, Conflict, DependencyUnavailable
from bartizan.policy.signing import LocalSigner
from control_plane.policies import publishing
from control_plane.policies.actor import Actor
from control_plane.policies.revisions import PolicyConflict
from control_plane.policies.service import Policies
from control_plane.store.sql.store import SqlStore, open_store

ACTOR = Actor(token_id="1", name="tester", role="admin")
POLICY = b"""
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: chat, namespace: prod}
spec:
  selector: {matchLabels: {app: chat}}
  listener: {tls: none}
  model: {name: m, protocol: opaque}
  routes: [{path: /x}]
  tenants: [acme]
  authn: {apiKeys: {set: chat}}
"""


class Signer:
    def __init__(self) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        self.local = LocalSigner(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.away = False

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        await asyncio.sleep(0)
        if self.away:
            raise DependencyUnavailable("no signature to be had")
        return self.local.key_id, self.local.sign(payload)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    made = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    yield made
    await made.close()


async def ignore(*_told: object) -> None:
    pass


async def test_a_change_that_never_gets_its_turn_is_not_carried_out_later(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vault hangs under the change before it, and whoever asked for this one is told and goes."""
    monkeypatch.setattr(publishing, "_TURN_SECONDS", 0.05)
    signer, signing, go_on = Signer(), asyncio.Event(), asyncio.Event()
    signed = signer.sign

    async def sign_slowly(payload: bytes) -> tuple[str, bytes]:
        signing.set()
        await go_on.wait()
        return await signed(payload)

    monkeypatch.setattr(signer, "sign", sign_slowly)
    policies = Policies(store, signer, ignore)
    first = asyncio.create_task(policies.apply(POLICY, ACTOR))  # noqa: TID251 - another caller
    await signing.wait()
    with pytest.raises(DependencyUnavailable, match="nothing of it was done"):
        await policies.apply(POLICY.replace(b"acme", b"late"), ACTOR)
    go_on.set()
    await first
    assert [row.number for row in await policies.revisions("prod/chat")] == [1]
    assert (await policies.apply(POLICY.replace(b"acme", b"new"), ACTOR)).revision == 2


async def test_without_a_record_there_is_no_act(store: SqlStore, tmp_path: Path) -> None:
    told: list[str] = []

    async def changed(name: str, *_newest: object) -> None:
        told.append(name)

    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE admin_events"))
    engine.dispose()
    with pytest.raises(DependencyUnavailable):
        await Policies(store, Signer(), changed).apply(POLICY, ACTOR)
    async with store.begin() as work:
        assert await work.policies.get("prod/chat") is None
        assert await work.policies.published() == []
    assert told == []


async def test_without_a_signature_nothing_is_stored(store: SqlStore) -> None:
    signer = Signer()
    signer.away = True
    policies = Policies(store, signer, ignore)
    with pytest.raises(DependencyUnavailable):
        await policies.apply(POLICY, ACTOR)
    assert await policies.states() == []
    assert (await policies.apply(POLICY, ACTOR, rollout=False)).revision == 1


async def test_of_two_replicas_that_apply_at_once_one_wins(store: SqlStore) -> None:
    replicas = [Policies(store, Signer(), ignore) for _ in range(2)]
    documents = [POLICY.replace(b"acme", name) for name in (b"one", b"two")]
    outcomes = await asyncio.gather(
        *(replica.apply(document, ACTOR) for replica, document in zip(replicas, documents, strict=True)),
        return_exceptions=True,
    )
    lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(error, Conflict) for error in lost)
    state = await replicas[0].state("prod/chat")
    assert state.publication is not None
    assert state.row.revision == state.publication.revision == 2 - len(lost)
    assert state.row.version == state.publication.version == 2 - len(lost)


async def test_one_replica_takes_its_calls_one_after_the_other(store: SqlStore) -> None:
    policies = Policies(store, Signer(), ignore)
    documents = [POLICY.replace(b"acme", b"t%d" % number) for number in range(5)]
    done = await asyncio.gather(*(policies.apply(document, ACTOR) for document in documents))
    assert sorted(applied.version for applied in done) == [1, 2, 3, 4, 5]


async def test_newest_and_published_revisions_of_the_namespace_conflict_also_when_of_another_release(
    store: SqlStore, tmp_path: Path
) -> None:
    policies = Policies(store, Signer(), ignore)
    await policies.apply(POLICY, ACTOR)
    await policies.apply(POLICY.replace(b"app: chat", b"app: moved"), ACTOR, rollout=False)
    await policies.apply(POLICY.replace(b"prod", b"dev"), ACTOR)
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE revisions SET document = replace(document, 'tenants', 'renters')"))
    engine.dispose()
    other = POLICY.replace(b"name: chat", b"name: other")
    for app in (b"chat", b"moved"):
        with pytest.raises(PolicyConflict, match="prod/chat"):
            await policies.apply(other.replace(b"app: chat", b"app: " + app), ACTOR)
    assert (await policies.apply(other.replace(b"app: chat", b"app: other"), ACTOR)).version == 1
    await policies.delete("prod/chat", ACTOR)
    assert (await policies.apply(other, ACTOR)).version == 2


async def test_undo_after_undo_is_as_before(store: SqlStore) -> None:
    policies = Policies(store, Signer(), ignore)
    await policies.apply(POLICY, ACTOR)
    await policies.apply(POLICY.replace(b"acme", b"globex"), ACTOR)
    found = [(await policies.undo("prod/chat", ACTOR)).revision for _ in range(3)]
    assert found == [1, 2, 1]


async def test_undo_finds_the_earlier_revision_behind_hundreds_of_publications(store: SqlStore) -> None:
    """Each change of a MeshPolicy publishes the revision of its endpoints again."""
    policies = Policies(store, Signer(), ignore)
    for tenant in (b"acme", b"other"):
        await policies.apply(POLICY.replace(b"acme", tenant), ACTOR)
    async with store.begin() as work:
        newest = await work.policies.publication("prod/chat", 2)
        assert newest is not None
        for version in range(3, 300):
            await work.policies.publish(replace(newest, version=version))
    undone = await policies.undo("prod/chat", ACTOR)
    assert (undone.revision, undone.version) == (1, 300)


async def test_what_is_there_to_look_back_at_comes_in_pages(store: SqlStore) -> None:
    policies = Policies(store, Signer(), ignore)
    for number in range(5):
        await policies.apply(POLICY.replace(b"acme", b"t%d" % number), ACTOR)
    first = await policies.revisions("prod/chat", limit=3)
    rest = await policies.revisions("prod/chat", limit=3, before=first[-1].number)
    assert [row.number for row in (*first, *rest)] == [5, 4, 3, 2, 1]
    newest = await policies.publications("prod/chat", limit=3)
    older = await policies.publications("prod/chat", limit=3, before=newest[-1].version)
    assert [row.version for row in (*newest, *older)] == [5, 4, 3, 2, 1]


async def test_what_was_deleted_and_comes_back_is_in_effect_when_it_is_rolled_out(store: SqlStore) -> None:
    policies = Policies(store, Signer(), ignore)
    await policies.apply(POLICY, ACTOR)
    await policies.delete("prod/chat", ACTOR)
    stored = await policies.apply(POLICY.replace(b"acme", b"globex"), ACTOR, rollout=False)
    assert (stored.revision, stored.version) == (2, 0)
    assert (await policies.state("prod/chat")).publication is None
    async with store.begin() as work:
        assert await work.policies.heads() == {}
    with pytest.raises(Conflict, match="nothing of prod/chat is in effect"):
        await policies.undo("prod/chat", ACTOR)
    assert (await policies.roll_out("prod/chat", 2, ACTOR)).version == 2
    assert (await policies.undo("prod/chat", ACTOR)).revision == 1


@pytest.mark.parametrize("name", ["prod/none", "chat", ""])
async def test_what_does_not_exist_is_not_found(store: SqlStore, name: str) -> None:
    policies = Policies(store, Signer(), ignore)
    for call in (policies.undo(name, ACTOR), policies.delete(name, ACTOR), policies.roll_out(name, 1, ACTOR)):
        with pytest.raises(BartizanError, match="no policy"):
            await call
