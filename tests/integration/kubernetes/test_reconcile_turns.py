"""What the cluster says, what is tried again and what is shown run beside each other and never get into each other's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api_server_stand import policy_path
from tests.support.reconciling import SPEC, Running, reconciling


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with reconciling(tmp_path, retry=0.05) as made:
        yield made


async def waits_to_apply(running: Running) -> None:
    """A retry of the object's first document hangs on its way to the store."""
    running.signer.away = True
    running.cluster.policy("chat", SPEC)
    await running.summary("PENDING")
    running.policies.held = b'"acme"'
    async with asyncio.timeout(60):
        await running.policies.waits.wait()
    running.signer.away = False


async def test_a_retry_of_an_older_document_never_overtakes_a_newer_one(running: Running) -> None:
    await waits_to_apply(running)
    running.cluster.policy("chat", {**SPEC, "tenants": ["globex"]})
    await asyncio.sleep(0.3)
    running.policies.free.set()
    async with asyncio.timeout(60):
        while len(running.policies.applied) < 2:
            await asyncio.sleep(0.02)
    assert b'"globex"' in running.policies.applied[1]
    newest = (await running.policies.revisions("default/chat"))[0]
    assert '"globex"' in newest.document


async def test_a_retry_never_brings_a_deleted_policy_back(running: Running) -> None:
    await waits_to_apply(running)
    running.cluster.delete(policy_path("chat"))
    await asyncio.sleep(0.3)
    running.policies.free.set()
    running.cluster.policy("other", {**SPEC, "selector": {"matchLabels": {"app": "other"}}})
    await running.summary("NO SIDECAR", "other")
    await running.gone("default/chat")
    assert [state.row.name for state in await running.policies.states()] == ["default/other"]


async def test_a_status_that_cant_be_written_keeps_no_other_waiting(tmp_path: Path) -> None:
    """retry is longer than the test: who waited for it would not come to the second object."""
    async with reconciling(tmp_path, retry=600) as running:
        running.cluster.refused_status.add("chat")
        running.cluster.policy("chat", SPEC)
        running.cluster.policy("other", {**SPEC, "selector": {"matchLabels": {"app": "other"}}})
        await running.summary("NO SIDECAR", "other")
        running.cluster.policy("third", {**SPEC, "selector": {"matchLabels": {"app": "third"}}})
        await running.summary("NO SIDECAR", "third")
        assert not running.cluster.status("chat")
