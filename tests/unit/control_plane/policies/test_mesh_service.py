"""The service of MeshPolicies: a change reaches all its endpoints or none, and each of them says what holds there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from bartizan.api import Preview
from bartizan.errors import BartizanError, Conflict, DependencyUnavailable, NotFound, PolicyInvalid
from bartizan.policy.bundle import Bundle
from control_plane.policies import publishing
from control_plane.policies.actor import Actor
from control_plane.policies.revisions import PolicyConflict
from control_plane.policies.service import KeptElsewhere, Policies, PreconditionFailed
from control_plane.store.sql.store import SqlStore, open_store
from protos.gen.bartizan.policy.v1 import policy_pb2
from tests.unit.control_plane.policies.test_policy_service import ACTOR, Signer

CLUSTER = Actor(token_id="kubernetes", name="x", role="kubernetes", origin="kubernetes")


def policy(name: str, namespace: str = "prod", **spec: Any) -> bytes:
    whole = {
        "selector": {"matchLabels": {"app": name}},
        "listener": {"tls": "none"},
        "model": {"name": "m", "protocol": "openai"},
        "tenants": ["acme"],
        "authn": {"apiKeys": {"set": "chat"}},
        **spec,
    }
    meta = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "ModelPolicy", "metadata": {"name": name, "namespace": namespace}}  # fmt: skip
    spec = {key: value for key, value in whole.items() if value is not None}
    return yaml.safe_dump({**meta, "spec": spec}).encode()


def mesh(name: str = "base", **spec: Any) -> bytes:
    meta = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": name}}
    return yaml.safe_dump({**meta, "spec": {"selector": {}, **spec}}).encode()


class House:
    """The service over a real store; `told` is what the push side heard."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.signer = Signer()
        self.told: list[str] = []
        self.policies = Policies(store, self.signer, self.changed)
        self.meshes = self.policies.meshes

    async def changed(self, name: str, *_newest: object) -> None:
        self.told.append(name)

    async def bundle(self, name: str) -> Bundle:
        """What sidecars of this policy get now."""
        async with self.store.begin() as work:
            (newest,) = await work.policies.publications(name, limit=1)
            row = await work.policies.publication(name, newest.version)
        assert row is not None
        message = policy_pb2.SignedBundle.FromString(row.bundle)
        return msgspec.json.decode(message.payload, type=Bundle)

    async def versions(self) -> dict[str, int]:
        found = await self.policies.states()
        return {each.row.name: each.publication.version if each.publication else 0 for each in found}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    made = House(store)
    for name, namespace in (("chat", "prod"), ("bot", "prod"), ("chat", "dev")):
        await made.policies.apply(policy(name, namespace, mode="shadow"), ACTOR)
    made.told.clear()
    yield made
    await store.close()


async def test_a_change_gives_all_touched_endpoints_and_no_others_a_new_version(house: House) -> None:
    text = mesh(selector={"namespaces": ["prod"]}, overrides={"mode": "enforce"})
    applied = await house.meshes.apply(text, ACTOR)
    assert applied.endpoints == ("prod/bot", "prod/chat") == tuple(house.told)
    assert await house.versions() == {"dev/chat": 1, "prod/bot": 2, "prod/chat": 2}
    bundle = await house.bundle("prod/chat")
    assert (bundle.plan.mode, bundle.revision, bundle.version) == ("enforce", 1, 2)
    again = await house.meshes.apply(text, ACTOR)
    assert (again.changed, again.revision, again.version) == (False, 1, 1)


async def test_an_endpoint_where_nothing_differs_keeps_its_version(house: House) -> None:
    await house.policies.apply(policy("chat", mode="enforce"), ACTOR)
    applied = await house.meshes.apply(mesh(overrides={"mode": "enforce"}), ACTOR)
    assert applied.endpoints == ("dev/chat", "prod/bot")
    assert (await house.meshes.state("base")).endpoints == ("dev/chat", "prod/bot", "prod/chat")


async def test_where_one_endpoint_cannot_take_it_nothing_happens_and_all_problems_are_told(
    house: House,
) -> None:
    for name in ("blind", "deaf"):
        opaque: Any = {"model": {"name": "m", "protocol": "opaque"}, "routes": [{"path": "/x"}]}
        await house.policies.apply(policy(name, **opaque), ACTOR)
    before, told = await house.versions(), list(house.told)
    for call in (house.meshes.apply, lambda text, _: check(house, text)):
        with pytest.raises(PolicyInvalid) as refusal:
            await call(mesh(overrides={"input": [{"pii": {}}], "listener": {"port": 8000}}), ACTOR)
        found = {(each.document, each.path, each.message) for each in refusal.value.problems}
        checks = "content checks can't read opaque bodies (at endpoint prod/{})"
        ports = "the model's own port: listener and model can't share it (at endpoint {})"
        assert found == {
            *(("MeshPolicy base", "spec.overrides.input[0].pii", checks.format(one)) for one in ("blind", "deaf")),
            *(("MeshPolicy base", "spec.overrides.listener.port", ports.format(one)) for one in before),
        }  # fmt: skip
    assert (await house.versions(), house.told) == (before, told)
    assert await house.meshes.states() == []


async def check(house: House, text: bytes) -> Preview:
    return await house.meshes.validate(await house.policies.read(text))


async def test_without_a_signature_for_each_endpoint_nothing_is_stored(house: House) -> None:
    before = await house.versions()
    house.signer.away = True
    with pytest.raises(DependencyUnavailable):
        await house.meshes.apply(mesh(overrides={"mode": "enforce"}), ACTOR)
    assert (await house.versions(), await house.meshes.states()) == (before, [])


async def test_a_deleted_mesh_policy_leaves_its_endpoints_as_they_are_without_it(house: House) -> None:
    await house.meshes.apply(mesh(overrides={"mode": "enforce"}), ACTOR)
    await house.meshes.delete("base", ACTOR)
    assert (await house.bundle("prod/chat")).plan.mode == "shadow"
    assert await house.versions() == {"dev/chat": 3, "prod/bot": 3, "prod/chat": 3}
    with pytest.raises(NotFound):
        await house.meshes.state("base")


async def test_one_that_was_deleted_and_comes_back_is_in_effect_when_it_is_rolled_out(house: House) -> None:
    await house.meshes.apply(mesh(overrides={"mode": "enforce"}), ACTOR)
    await house.meshes.delete("base", ACTOR)
    await house.meshes.apply(mesh(overrides={"tenants": ["one"]}), ACTOR, rollout=False)
    await house.policies.apply(policy("chat", mode="shadow", tenants=["two"]), ACTOR)
    assert (await house.bundle("prod/chat")).plan.mode == "shadow"
    assert (await house.meshes.state("base")).publication is None
    await house.meshes.roll_out("base", 2, ACTOR)
    assert (await house.bundle("prod/chat")).plan.tenants == ("one",)


async def test_defaults_that_an_endpoint_needs_can_not_be_taken_away(house: House) -> None:
    await house.meshes.apply(mesh(defaults={"authn": {"apiKeys": {"set": "org"}}}), ACTOR)
    await house.policies.apply(policy("bare", authn=None), ACTOR)
    for call in (
        house.meshes.delete("base", ACTOR),
        house.meshes.apply(mesh(defaults={"mode": "shadow"}), ACTOR),
    ):
        with pytest.raises(PolicyInvalid) as refusal:
            await call
        assert [(each.document, each.path) for each in refusal.value.problems] == [
            ("ModelPolicy prod/bare", "spec.authn")
        ]
    assert (await house.bundle("prod/bare")).plan.api_key_set == "org"


async def test_a_policy_that_comes_later_or_is_undone_is_under_the_overrides_of_now(house: House) -> None:
    await house.policies.apply(policy("chat", mode="shadow", tenants=["other"]), ACTOR)
    await house.meshes.apply(mesh(overrides={"mode": "enforce"}), ACTOR)
    await house.policies.apply(policy("new", mode="shadow"), ACTOR)
    await house.policies.undo("prod/chat", ACTOR)
    for name in ("prod/new", "prod/chat"):
        assert (await house.bundle(name)).plan.mode == "enforce", name
    assert (await house.bundle("prod/chat")).plan.tenants == ("acme",)


async def test_undo_puts_in_effect_what_was_before_and_a_stored_revision_waits_for_its_roll_out(
    house: House,
) -> None:
    await house.meshes.apply(mesh(overrides={"tenants": ["one"]}), ACTOR)
    stored = await house.meshes.apply(mesh(overrides={"tenants": ["two"]}), ACTOR, rollout=False)
    assert (stored.revision, stored.version, stored.endpoints) == (2, 0, ())
    assert (await house.bundle("prod/chat")).plan.tenants == ("one",)
    rolled = await house.meshes.roll_out("base", 2, ACTOR)
    assert (rolled.version, (await house.bundle("prod/chat")).plan.tenants) == (2, ("two",))
    assert (await house.meshes.undo("base", ACTOR)).revision == 1
    assert (await house.bundle("prod/chat")).plan.tenants == ("one",)


async def test_who_only_asks_whether_it_is_valid_waits_for_no_turn_and_takes_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer may ask, and a MeshPolicy is judged at each endpoint: seconds in which nobody could change anything."""
    monkeypatch.setattr(publishing, "_TURN_SECONDS", 0.05)
    written = await house.policies.read(mesh(overrides={"mode": "enforce"}))
    async with house.policies._publishing.turn():
        assert (await house.meshes.validate(written)).valid


async def test_the_difference_says_what_it_loosens_at_which_endpoint(house: House) -> None:
    await house.meshes.apply(mesh(selector={"namespaces": ["dev"]}, overrides={"mode": "enforce"}), ACTOR)
    await house.meshes.apply(
        mesh(selector={"namespaces": ["dev"]}, overrides={"tenants": ["acme", "b"]}), ACTOR
    )
    changes, loosens = await house.meshes.diff("base", 1, 2)
    assert {change.path for change in changes} == {"spec.overrides.mode", "spec.overrides.tenants"}
    assert loosens == (
        "dev/chat: tenant b may call",
        "dev/chat: nothing is blocked any more: enforce -> shadow",
    )


async def test_two_of_one_priority_that_could_meet_are_refused(house: House) -> None:
    await house.meshes.apply(mesh("one", overrides={"mode": "enforce"}), ACTOR)
    with pytest.raises(PolicyConflict, match="MeshPolicy one has priority 0"):
        await house.meshes.apply(mesh("two", overrides={"mode": "shadow"}), ACTOR)
    await house.meshes.apply(mesh("two", priority=1, overrides={"mode": "shadow"}), ACTOR)
    assert (await house.bundle("prod/chat")).plan.mode == "shadow"


async def test_the_effective_policy_shows_who_said_what(house: House) -> None:
    await house.meshes.apply(
        mesh(overrides={"mode": "enforce"}, defaults={"telemetry": {"traceSample": 0.5}}), ACTOR
    )
    made = await house.policies.effective("prod/chat")
    kinds = {path: (one.kind, one.path) for path, one in made.origins().items()}
    assert kinds["spec.mode"] == ("override", "spec.overrides.mode")
    assert kinds["spec.telemetry.traceSample"] == ("default", "spec.defaults.telemetry.traceSample")
    assert kinds["spec.tenants"] == ("policy", "spec.tenants")
    assert made.document["spec"]["mode"] == "enforce"


async def test_of_two_replicas_none_publishes_past_the_other(house: House) -> None:
    other = Policies(house.store, Signer(), house.changed)
    outcomes = await asyncio.gather(
        house.meshes.apply(mesh(overrides={"mode": "enforce"}), ACTOR),
        *(other.apply(policy(f"p{number}", mode="shadow"), ACTOR) for number in range(4)),
        return_exceptions=True,
    )
    assert all(isinstance(each, Conflict) for each in outcomes if isinstance(each, BaseException))
    if not isinstance(outcomes[0], BaseException):
        for state in await house.policies.states():
            assert (await house.bundle(state.row.name)).plan.mode == "enforce", state.row.name


async def test_where_the_document_is_kept_it_is_changed_and_endpoints_may_be_kept_elsewhere(
    house: House,
) -> None:
    await house.meshes.apply(mesh(overrides={"mode": "enforce"}), CLUSTER)
    assert (await house.bundle("prod/chat")).plan.mode == "enforce"
    for call in (house.meshes.apply(mesh(overrides={"mode": "shadow"}), ACTOR), house.meshes.delete("base", ACTOR)):  # fmt: skip
        with pytest.raises(KeptElsewhere):
            await call


async def test_a_revision_that_is_not_the_newest_is_told(house: House) -> None:
    await house.meshes.apply(mesh(overrides={"mode": "enforce"}), ACTOR, expected=0)
    with pytest.raises(PreconditionFailed):
        await house.meshes.apply(mesh(overrides={"mode": "shadow"}), ACTOR, expected=0)


async def test_every_act_is_recorded_at_the_mesh_policy_and_its_endpoints(house: House) -> None:
    await house.meshes.apply(mesh(selector={"namespaces": ["dev"]}, overrides={"mode": "enforce"}), ACTOR)
    await house.meshes.delete("base", ACTOR)
    async with house.store.begin() as work:
        events = [(event.act, event.target) for event in await work.events.recent(limit=4)]
    assert sorted(events) == [
        ("mesh.apply", "base"),
        ("mesh.delete", "base"),
        ("policy.inherit", "dev/chat"),
        ("policy.inherit", "dev/chat"),
    ]


@pytest.mark.parametrize("act", ["undo", "delete", "state"])
async def test_what_does_not_exist_is_not_found(house: House, act: str) -> None:
    arguments = () if act == "state" else (ACTOR,)
    with pytest.raises(BartizanError, match="no MeshPolicy none"):
        await getattr(house.meshes, act)("none", *arguments)
