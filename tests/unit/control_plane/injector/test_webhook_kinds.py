"""What is no pod is judged as what it is: policies by their rules, connections by theirs; through the real aiohttp server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from control_plane.injector import names
from tests.support.webhook_stand import Stand, policy, policy_document, webhook_stand

POLICIES = {"resource": {"group": "bartizan.dev", "version": "v1alpha1", "resource": "modelpolicies"}}


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with webhook_stand() as made:
        yield made


def document(**spec: Any) -> dict[str, Any]:
    return policy_document("sentiment", **spec)


async def ask(stand: Stand, new: Any, old: Any, operation: str) -> dict[str, Any]:
    more = {**POLICIES, "operation": operation, "name": "sentiment", "oldObject": old}
    return await stand.ask("/validate", new, "prod", **more)


async def test_a_policy_that_asks_for_too_little_is_refused_at_its_making_and_at_a_change(
    stand: Stand,
) -> None:
    for old, operation in ((None, "CREATE"), (document(), "UPDATE")):
        response = await ask(stand, document(limits={}), old, operation)
        assert "policy_without_limits" in response["status"]["message"]
        assert (await ask(stand, document(), old, operation))["allowed"] is True


async def test_whoever_takes_a_policy_from_running_pods_is_told_and_not_hindered(stand: Stand) -> None:
    stand.policies = [policy("sentiment")]
    response = await ask(stand, None, document(), "DELETE")
    assert response["allowed"] is True
    assert "1 running pods are left without a policy" in response["warnings"][0]
    response = await ask(stand, document(selector={"matchLabels": {"app": "other"}}), document(), "UPDATE")
    assert response["allowed"] is True
    assert "chat-0" in response["warnings"][0]
    stand.policies = [policy("sentiment"), policy("second")]
    assert "warnings" not in await ask(stand, None, document(), "DELETE")


async def test_a_deletion_is_not_hindered_by_what_cant_be_found_out_and_a_change_is(stand: Stand) -> None:
    stand.away = True
    response = await ask(stand, None, document(), "DELETE")
    assert response["allowed"] is True
    assert "could not be found out" in response["warnings"][0]
    assert (await ask(stand, document(), document(), "UPDATE"))["status"]["code"] == 503


async def test_connections_into_pods_are_judged_by_what_they_are(stand: Stand) -> None:
    async def connect(what: str, **options: str) -> dict[str, Any]:
        more = {"operation": "CONNECT", "subResource": what, "name": "chat-0"}
        return await stand.ask("/validate", {"kind": "Options", **options}, "prod", **more)

    assert "port_forward" in (await connect("portforward"))["status"]["message"]
    assert "sidecar_entered" in (await connect("exec", container=names.SIDECAR))["status"]["message"]
    admitted = await connect("exec", container="model", command="cat /prompts")
    assert admitted["allowed"] is True
    assert "on record" in admitted["warnings"][0]


async def test_it_is_ready_only_when_the_api_server_was_told_of_its_root(stand: Stand) -> None:
    assert (await stand.get("/healthz"), await stand.get("/readyz")) == (200, 503)
    stand.trusted = True
    assert await stand.get("/readyz") == 200
