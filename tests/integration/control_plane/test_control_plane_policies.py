"""Policies over the REST API: what is signed and announced, what is refused, undone and waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import yaml

from bartizan.errors import Conflict, NotFound, PolicyInvalid
from bartizan.policy.canonical import canonical
from bartizan.policy.signing import verify_bundle
from control_plane.fleet.proof import Instance, Observation, Wanted
from control_plane.policies.revisions import plain
from protos.gen.bartizan.policy.v1 import policy_pb2

SPIFFE = "spiffe://test.local/ns/prod/sa/model"
WANTED = Wanted(
    policy="prod/chat",
    namespace="prod",
    match_labels={"app": "chat"},
    version=1,
    revision=1,
    plan_hash="h",
)
PROVEN = Observation(
    boot_id="b",
    sequence=1,
    policy="prod/chat",
    version=1,
    revision=1,
    plan_hash="h",
    workers=1,
    workers_loaded=1,
    envoy_acked=True,
    probe_good=True,
    ready=True,
    sent_at=1000.0,
    probe_at=999.0,
    key_set_versions={"chat": 10},
)


def edited(text: str, path: str, value: Any) -> str:
    document = yaml.safe_load(text)
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[name]
    place[last] = value
    return yaml.safe_dump(document)


async def test_an_applied_policy_is_signed_stored_and_announced(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        applied = await client.apply(policy_text, reason="first")
        assert (applied.name, applied.revision, applied.version, applied.changed) == ("prod/chat", 1, 1, True)
        assert house.changed == ["prod/chat"]
        again = await client.apply(policy_text)
        assert (again.revision, again.version, again.changed) == (1, 1, False)
        assert [(r.number, r.reason) for r in await client.revisions("prod/chat")] == [(1, "first")]
    async with house.store.begin() as work:
        row = await work.policies.publication("prod/chat", 1)
    assert row is not None
    message = policy_pb2.SignedBundle.FromString(row.bundle)
    bundle = verify_bundle(message, {house.signer.key_id: house.signer.public_key})
    assert (bundle.policy, bundle.revision, bundle.version, bundle.plan.id) == ("prod/chat", 1, 1, "1.1")


async def test_undo_publishes_the_earlier_revision_under_a_new_version(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        with pytest.raises(Conflict, match="nothing to undo"):
            await client.undo("prod/chat")
        second = await client.apply(edited(policy_text, "spec.tenants", ["acme", "globex"]))
        assert (second.revision, second.version) == (2, 2)
        undone = await client.undo("prod/chat")
        assert (undone.revision, undone.version) == (1, 3)
        rolled = await client.rollout("prod/chat", 2)
        assert (rolled.revision, rolled.version) == (2, 4)
        listed = await client.publications("prod/chat")
        assert [(p.version, p.revision) for p in listed] == [(4, 2), (3, 1), (2, 2), (1, 1)]
        with pytest.raises(NotFound):
            await client.rollout("prod/chat", 9)
        difference = await client.diff("prod/chat", 1)
        assert difference.loosens == ("tenant globex may call",)


async def test_a_draft_is_not_published(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        draft = await client.apply(policy_text, rollout=False)
        assert (draft.revision, draft.version) == (1, 0)
        assert house.changed == []
        (summary,) = await client.policies("prod")
        assert (summary.revision, summary.published_revision) == (1, 0)
        assert (await client.apply(policy_text)).version == 1


async def test_a_broken_policy_is_refused_with_every_problem_and_changes_nothing(
    house: Any, policy_text: str
) -> None:
    broken = edited(edited(policy_text, "spec.tenants", []), "spec.mode", "maybe")
    async with house.client() as client:
        for call in (client.apply, client.validate):
            with pytest.raises(PolicyInvalid) as refused:
                await call(broken)
            assert {problem.path for problem in refused.value.problems} >= {"spec.mode", "spec.tenants"}
        assert await client.policies() == ()
        assert (await client.validate(policy_text)).valid


async def test_two_policies_that_could_meet_are_refused(house: Any, policy_text: str) -> None:
    other = edited(policy_text, "metadata.name", "other")
    async with house.client() as client:
        await client.apply(policy_text)
        with pytest.raises(Conflict, match="prod/chat could select the same sidecar"):
            await client.apply(other)
        apart = edited(other, "spec.selector.matchLabels", {"app": "other"})
        assert (await client.apply(apart)).version == 1


async def test_if_match_guards_against_a_lost_update(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        with pytest.raises(Conflict):
            await client.apply(policy_text, if_match=1)
        await client.apply(policy_text, if_match=0)
        changed = edited(policy_text, "spec.mode", "shadow")
        with pytest.raises(Conflict):
            await client.apply(changed, if_match=2)
        assert (await client.apply(changed, if_match=1)).revision == 2


async def test_a_deleted_policy_returns_with_higher_numbers(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        await client.delete_policy("prod/chat")
        with pytest.raises(NotFound):
            await client.policy("prod/chat")
        back = await client.apply(policy_text)
        assert (back.revision, back.version) == (2, 2)


async def test_all_revisions_and_publications_are_there_page_by_page(house: Any, policy_text: str) -> None:
    """A publication for each change of a MeshPolicy, and a revision for each apply of a pipeline, are soon hundreds."""
    async with house.client() as client:
        await client.apply(policy_text)
        async with house.store.begin() as work:
            revision = await work.policies.revision("prod/chat", 1)
            publication = await work.policies.publication("prod/chat", 1)
            for number in range(2, 450):
                await work.policies.add_revision(replace(revision, number=number))
                await work.policies.publish(replace(publication, version=number, revision=number))
        newest_first = list(range(449, 0, -1))
        assert [each.number for each in await client.revisions("prod/chat")] == newest_first
        assert [each.version for each in await client.publications("prod/chat")] == newest_first


async def test_a_policy_that_this_release_can_not_read_is_listed_with_the_reason_beside_the_others(
    house: Any, policy_text: str
) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        await client.apply(policy_text.replace("chat", "other"))
        async with house.store.begin() as work:
            revision = await work.policies.revision("prod/other", 1)
            document = {**plain(revision.document), "kind": "ModelPolicy", "spec": {"ofAnEarlierRelease": 1}}
            await work.policies.add_revision(
                replace(revision, number=2, document=canonical(document).decode())
            )
            publication = await work.policies.publication("prod/other", 1)
            await work.policies.publish(replace(publication, version=2, revision=2))
        good, bad = await client.endpoints()
    assert (good.policy, good.version, good.problem) == ("prod/chat", 1, "")
    assert good.listen.startswith("http")
    assert (bad.policy, bad.version, bad.listen) == ("prod/other", 2, "")
    assert "spec" in bad.problem


async def test_a_long_wait_is_as_many_short_ones_as_it_takes(
    house: Any, policy_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control plane answers after five minutes at the latest; whoever has more patience asks again."""
    monkeypatch.setattr("bartizan.transport.LONGEST_WAIT", 0.05)
    house.ledger.admit(Instance(instance_id="i", spiffe_id=SPIFFE, namespace="prod", labels={"app": "chat"}))
    async with house.client() as client:
        await client.apply(policy_text)
        house.ledger.want(WANTED)
        waiting = asyncio.get_running_loop().create_task(client.wait_enforced("prod/chat", 1))
        await asyncio.sleep(0.3)
        house.ledger.observe("i", PROVEN)
        assert (await waiting).enforced


async def test_status_waits_until_every_instance_proves_the_version(house: Any, policy_text: str) -> None:
    house.ledger.admit(Instance(instance_id="i", spiffe_id=SPIFFE, namespace="prod", labels={"app": "chat"}))
    async with house.client() as client:
        applied = await client.apply(policy_text)
        house.ledger.want(replace(WANTED, version=applied.version))
        early = await client.wait_enforced("prod/chat", 1, timeout_seconds=0.05)
        assert (early.enforced, early.summary) == (False, "0/1")
        waiting = asyncio.get_running_loop().create_task(client.wait_enforced("prod/chat", 1))
        await asyncio.sleep(0)
        house.ledger.observe("i", PROVEN)
        assert (await waiting).enforced


async def test_who_waits_for_a_policy_that_is_deleted_is_told_at_once(house: Any, policy_text: str) -> None:
    async def wait() -> None:
        with pytest.raises(NotFound):
            await client.wait_enforced("prod/chat", timeout_seconds=60)

    async with house.client() as client, asyncio.timeout(30), asyncio.TaskGroup() as group:
        await client.apply(policy_text)
        house.ledger.want(WANTED)
        waiting = group.create_task(wait())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await client.delete_policy("prod/chat")
        house.ledger.unwant("prod/chat")
