"""ModelPolicy objects become policies and their status tells what is proven, whatever the watch goes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bartizan.errors import Conflict
from control_plane.fleet.proof import Instance
from control_plane.policies.actor import Actor
from control_plane.policies.service import KeptElsewhere
from tests.support.api_server_stand import policy_path
from tests.support.reconciling import SPEC, Running, reconciling

ADMIN = Actor(token_id="1", name="tester", role="admin")
DOCUMENT = b"""
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: chat, namespace: default}
spec:
  selector: {matchLabels: {app: chat}}
  listener: {tls: none}
  model: {name: m, protocol: opaque}
  routes: [{path: /x}]
  tenants: [acme]
  authn: {apiKeys: {set: chat}}
"""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with reconciling(tmp_path, retry=0.05) as made:
        yield made


def condition(status: dict[str, Any], kind: str) -> tuple[str, str]:
    (found,) = (each for each in status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]


def hint(problem: dict[str, Any]) -> str:
    return f" ({problem['hint']})" if problem.get("hint") else ""


async def test_an_object_becomes_a_policy_and_its_status_is_enforced_only_when_proven(
    running: Running,
) -> None:
    running.cluster.policy("chat", SPEC)
    first = await running.summary("NO SIDECAR")
    assert condition(first, "Accepted") == ("True", "Accepted")
    assert condition(first, "Enforced") == ("False", "NoSidecar")
    assert (first["revision"], first["version"], first["observedGeneration"]) == (1, 1, 1)
    running.enforce("one", 1)
    await running.summary("ENFORCED 1/1")
    running.ledger.admit(
        Instance(instance_id="two", spiffe_id="s", namespace="default", labels={"app": "chat"})
    )
    partly = await running.summary("PENDING 1/2")
    assert condition(partly, "Enforced") == ("False", "NotProven")
    assert partly["missing"] == [{"instance": "two", "state": "pending", "reason": "not_reported_yet"}]
    running.enforce("two", 1)
    whole = await running.summary("ENFORCED 2/2")
    assert (whole["enforced"], whole["total"], whole["missing"]) == (2, 2, [])


async def test_a_bad_document_is_told_with_every_path_and_the_older_revision_stays(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    running.enforce("one", 1)
    await running.summary("ENFORCED 1/1")
    running.cluster.policy("chat", {**SPEC, "quota": {}, "tenants": ["acme", "acme"]})
    status = await running.summary("INVALID, revision 1 ENFORCED 1/1")
    assert [(each["path"], each["code"]) for each in status["problems"]] == [
        ("spec.quota", "unsupported"),
        ("spec.tenants[1]", "duplicate"),
    ]
    assert condition(status, "Accepted") == ("False", "Invalid")
    (accepted,) = (each for each in status["conditions"] if each["type"] == "Accepted")
    # all that `bartizan policy apply` says of it: tools that show an object's health show nothing but conditions
    assert all(f"{p['path']}: {p['message']}{hint(p)}" in accepted["message"] for p in status["problems"])
    assert any(map(hint, status["problems"]))
    assert condition(status, "Published") == ("False", "OlderRevision")
    assert condition(status, "Enforced")[0] == "False"
    running.cluster.policy("chat", SPEC)
    assert (await running.summary("ENFORCED 1/1"))["problems"] == []


async def test_a_deleted_object_is_a_deleted_policy(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    running.cluster.delete(policy_path("chat"))
    await running.gone("default/chat")


async def test_a_deletion_that_could_not_be_stored_is_not_forgotten(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    running.policies.fails = 2
    running.cluster.delete(policy_path("chat"))
    await running.gone("default/chat")
    assert running.policies.fails == 0


async def test_what_happened_while_nobody_watched_is_made_up_for(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    running.cluster.policy("gone", {**SPEC, "selector": {"matchLabels": {"app": "gone"}}})
    await running.summary("NO SIDECAR")
    await running.summary("NO SIDECAR", "gone")
    await running.stop()
    running.cluster.delete(policy_path("gone"))
    running.cluster.policy("chat", {**SPEC, "tenants": ["acme", "globex"]})
    running.cluster.policy("new", {**SPEC, "selector": {"matchLabels": {"app": "new"}}})
    running.start()
    await running.gone("default/gone")
    await running.until(lambda status: status["observedGeneration"] == 2)
    await running.summary("NO SIDECAR", "new")


async def test_a_broken_watch_goes_on_where_it_stopped(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    lists = running.cluster.lists
    running.cluster.cut()
    running.cluster.policy("chat", {**SPEC, "tenants": ["acme", "globex"]})
    await running.until(lambda status: status["observedGeneration"] == 2)
    assert running.cluster.lists == lists


async def test_a_version_that_is_too_old_leads_to_a_new_list(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    lists = running.cluster.lists
    running.cluster.forget_history()
    running.cluster.oldest += 1
    running.cluster.policy("chat", {**SPEC, "tenants": ["acme", "globex"]})
    await running.until(lambda status: status["observedGeneration"] == 2)
    assert running.cluster.lists > lists


async def test_an_api_server_that_was_away_is_followed_again(running: Running) -> None:
    running.cluster.down = True
    running.cluster.cut()
    running.cluster.policy("chat", SPEC)
    await asyncio.sleep(0.3)
    assert not running.cluster.status("chat")
    running.cluster.down = False
    await running.summary("NO SIDECAR")


async def test_what_an_api_server_that_is_away_does_not_take_is_logged_once_not_at_each_try(
    running: Running,
) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    with capture_logs() as said:
        running.cluster.down = True
        running.cluster.cut()
        running.enforce("one", 1)
        asked = running.asked
        async with asyncio.timeout(60):
            while running.asked < asked + 4:  # one for each try to show it
                await asyncio.sleep(0.02)
        running.cluster.down = False
        await running.summary("ENFORCED 1/1")
    lines = [(each["event"], each["reason"]) for each in said if "reason" in each]
    assert {"status_not_written", "watch_broken"} == {event for event, _ in lines}
    assert len(lines) == len(set(lines))


async def test_without_a_signature_the_object_waits_and_is_tried_again(running: Running) -> None:
    running.signer.away = True
    running.cluster.policy("chat", SPEC)
    status = await running.summary("PENDING")
    assert condition(status, "Accepted") == ("Unknown", "Waiting")
    running.signer.away = False
    await running.summary("NO SIDECAR")


async def test_a_foreign_status_is_written_over(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    one = running.cluster.objects[policy_path("chat")]
    running.cluster.put(policy_path("chat"), {**one, "status": {"summary": "ENFORCED 9/9", "enforced": 9}})
    await running.until(lambda status: status.get("summary") == "NO SIDECAR" and status["enforced"] == 0)


async def test_a_policy_of_the_cluster_is_read_only_in_the_api(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    for act in (
        running.policies.apply(DOCUMENT, ADMIN),
        running.policies.roll_out("default/chat", 1, ADMIN),
        running.policies.undo("default/chat", ADMIN),
        running.policies.delete("default/chat", ADMIN),
    ):
        with pytest.raises(KeptElsewhere, match="change the ModelPolicy object"):
            await act
    assert (await running.policies.state("default/chat")).row.origin == "kubernetes"


async def test_a_policy_of_the_api_is_not_taken_over_until_it_is_deleted_there(running: Running) -> None:
    await running.policies.apply(DOCUMENT, ADMIN)
    running.cluster.policy("chat", SPEC)
    status = await running.summary("REFUSED")
    assert condition(status, "Accepted") == ("False", "KeptElsewhere")
    assert status["version"] == 0
    assert (await running.policies.state("default/chat")).row.origin == "api"
    await running.policies.delete("default/chat", ADMIN)
    await running.summary("NO SIDECAR")
    assert (await running.policies.state("default/chat")).row.origin == "kubernetes"


async def test_deleting_the_refused_object_leaves_the_policy_of_the_api_alone(running: Running) -> None:
    await running.policies.apply(DOCUMENT, ADMIN)
    running.cluster.policy("chat", SPEC)
    await running.summary("REFUSED")
    running.cluster.delete(policy_path("chat"))
    running.cluster.policy("other", {**SPEC, "selector": {"matchLabels": {"app": "other"}}})
    await running.summary("NO SIDECAR", "other")
    assert (await running.policies.state("default/chat")).row.origin == "api"


async def test_of_two_objects_for_one_sidecar_the_second_waits_until_the_first_is_gone(
    running: Running,
) -> None:
    running.cluster.policy("chat", SPEC)
    await running.summary("NO SIDECAR")
    running.cluster.policy("second", SPEC)
    status = await running.summary("REFUSED", "second")
    assert condition(status, "Accepted") == ("False", "Conflict")
    running.cluster.delete(policy_path("chat"))
    await running.summary("NO SIDECAR", "second")


async def test_a_store_from_a_backup_is_brought_up_to_the_cluster(running: Running) -> None:
    running.cluster.policy("chat", {**SPEC, "tenants": ["acme", "globex"]})
    await running.summary("NO SIDECAR")
    await running.stop()
    older = Actor(token_id="kubernetes", name="older", role="kubernetes", origin="kubernetes")
    await running.policies.apply(DOCUMENT, older)
    running.start()
    await running.until(lambda status: status["version"] == 3)
    newest = await running.policies.revision("default/chat", 3)
    assert '"globex"' in newest.document


async def test_conflict_is_the_family_of_what_is_kept_elsewhere() -> None:
    assert issubclass(KeptElsewhere, Conflict), "the API answers 409"


async def test_a_replica_whose_lease_is_over_changes_neither_a_policy_nor_a_status(running: Running) -> None:
    running.cluster.policy("chat", SPEC)
    shown = await running.summary("NO SIDECAR")
    running.leads = False
    writes, asked = running.cluster.status_writes, running.asked
    running.cluster.policy("chat", {**SPEC, "tenants": ["other"]})
    async with asyncio.timeout(60):
        while running.asked < asked + 20:  # it has looked at the object again and again
            await asyncio.sleep(0.02)
    assert (await running.policies.state("default/chat")).row.revision == 1
    assert (running.cluster.status_writes, running.cluster.status("chat")) == (writes, shown)
    running.leads = True  # in its place the next one would take the object up
    await running.until(lambda status: status["revision"] == 2)
