"""MeshPolicies at a real sidecar: what they say holds there, proven, and what is deleted no longer does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import yaml

from bartizan.client import Client
from bartizan.errors import Forbidden, PolicyInvalid
from tests.support.control_plane_stand import POLICY, Stand, stand

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("mesh"), pytest.mark.asyncio(loop_scope="module")]

DENY_ALL = {"authz": [{"name": "closed", "deny": "true"}]}
"""A rule that every request meets."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="started")
async def _started() -> AsyncIterator[Stand]:
    async with stand() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", name="chain")
async def _chain(started: Stand) -> Stand:
    """No MeshPolicy is left from the test before, and the endpoint's policy is its plain one."""
    async with started.stack.client() as client:
        for each in await client.meshes():
            await client.delete_mesh(each.name)
        await client.apply(started.document())
    await started.begin()
    return started


def mesh(name: str, selector: dict[str, Any] | None = None, **spec: Any) -> str:
    meta = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": name}}
    return yaml.safe_dump({**meta, "spec": {"selector": selector or {}, **spec}})


async def put(client: Client, text: str) -> None:
    """In effect, and proven by the sidecar where it changes something there."""
    applied = await client.apply(text)
    if applied.endpoints:
        status = await client.mesh_status(applied.name, applied.version, wait_seconds=60)
        assert status.enforced, status


async def test_an_override_denies_whatever_the_policy_says_and_goes_with_its_mesh_policy(
    chain: Stand,
) -> None:
    async with chain.stack.client() as client:
        assert await chain.ask() == 200
        before, reached = await chain.enforced(), chain.reached.total()
        await put(client, mesh("lock", overrides=DENY_ALL))
        assert (await chain.ask(), chain.reached.total() - reached) == (403, 0)
        mine = yaml.safe_load(chain.document())
        mine["spec"]["authz"] = [{"name": "closed", "allow": "true"}]
        await chain.enforced((await client.apply(yaml.safe_dump(mine))).version)
        assert await chain.ask() == 403, "the endpoint's own rule of that name does not undo it"
        await client.undo(POLICY)
        assert await chain.enforced() == before + 3
        assert await chain.ask() == 403, "nor does undoing the policy"
        await client.delete_mesh("lock")
        await chain.enforced()
        assert await chain.ask() == 200


@pytest.mark.parametrize(
    ("fits", "other"),
    [
        ({"namespaces": ["default"]}, {"namespaces": ["elsewhere"]}),
        ({"protocols": ["json_fields"]}, {"protocols": ["openai"]}),
        ({"modelLabels": {"tier": "gold"}}, {"modelLabels": {"tier": "lead"}}),
    ],
    ids=["namespaces", "protocols", "modelLabels"],
)
async def test_only_selected_endpoints_are_touched(
    chain: Stand, fits: dict[str, Any], other: dict[str, Any]
) -> None:
    document = yaml.safe_load(chain.document())
    document["spec"]["model"]["labels"] = {"tier": "gold"}
    async with chain.stack.client() as client:
        await chain.enforced((await client.apply(yaml.safe_dump(document))).version)
        await put(client, mesh("lock", other, overrides=DENY_ALL))
        assert (await client.mesh("lock")).endpoints == ()
        assert await chain.ask() == 200
        await put(client, mesh("lock", fits, overrides=DENY_ALL))
        assert (await client.mesh("lock")).endpoints == (POLICY,)
        assert await chain.ask() == 403
        await client.delete_mesh("lock")
        await chain.enforced()


async def test_a_default_completes_a_policy_and_yields_to_it_and_the_higher_priority_wins(
    chain: Stand,
) -> None:
    bare = yaml.safe_load(chain.document())
    tenants = bare["spec"].pop("tenants")
    async with chain.stack.client() as client:
        with pytest.raises(PolicyInvalid):
            await client.apply(yaml.safe_dump(bare))
        await put(client, mesh("low", priority=1, defaults={"tenants": ["nobody"]}))
        await chain.enforced((await client.apply(yaml.safe_dump(bare))).version)
        assert await chain.ask() == 403
        await put(client, mesh("high", priority=2, defaults={"tenants": tenants}))
        assert await chain.ask() == 200
        found = await client.effective(POLICY)
        origin = next(one for one in found.origins if one.path == "spec.tenants")
        assert (origin.kind, origin.document, origin.written_at) == (
            "default",
            "MeshPolicy high",
            "spec.defaults.tenants",
        )
        await chain.enforced((await client.apply(chain.document(tenants=("globex",)))).version)
        assert await chain.ask() == 403, "the policy's own word is before any default"
        await chain.enforced((await client.apply(chain.document())).version)
        for name in ("low", "high"):
            await client.delete_mesh(name)


async def test_a_change_that_the_endpoint_cannot_take_changes_nothing_there(chain: Stand) -> None:
    async with chain.stack.client() as client:
        version = await chain.enforced()
        with pytest.raises(PolicyInvalid) as refusal:
            await client.apply(mesh("bad", overrides={"output": [{"probabilities": {}}]}))
        assert [(one.document, one.path) for one in refusal.value.problems] == [
            ("MeshPolicy bad", "spec.overrides.output[0].probabilities")
        ]
        assert await client.meshes() == ()
        assert (await chain.enforced(), await chain.ask()) == (version, 200)


async def test_who_may_write_policies_may_not_therefore_write_mesh_policies(chain: Stand) -> None:
    async with chain.stack.client() as admin:
        for role, may in (("author", False), ("operator", False), ("platform", True)):
            token = (await admin.create_token(role=role, name=role)).token  # type: ignore[arg-type]
            async with Client(chain.stack.api_url, token, ca_file=chain.stack.ca_file) as client:
                if may:
                    await client.apply(mesh("own", defaults={"mode": "enforce"}))
                    await client.delete_mesh("own")
                    continue
                with pytest.raises(Forbidden):
                    await client.apply(mesh("own", defaults={"mode": "enforce"}))
