"""MeshPolicies over the API: both kinds at one door, who may write which, and what is shown of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bartizan.errors import Conflict, Forbidden, NotFound, PolicyInvalid


def mesh(name: str = "base", **spec: Any) -> str:
    meta = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": name}}
    return yaml.safe_dump({**meta, "spec": {"selector": {"namespaces": ["prod"]}, **spec}})


async def test_a_mesh_policy_is_applied_looked_at_undone_and_deleted(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        first = await client.apply(mesh(overrides={"tenants": ["one"]}), reason="why")
        assert (first.name, first.revision, first.version, first.endpoints) == ("base", 1, 1, ("prod/chat",))
        await client.apply(mesh(overrides={"tenants": ["two"], "mode": "shadow"}))
        (listed,) = await client.meshes()
        assert (listed.revision, listed.published_revision, listed.endpoints) == (2, 2, ("prod/chat",))
        assert [each.reason for each in await client.mesh_revisions("base")] == ["", "why"]
        difference = await client.mesh_diff("base", 1, 2)
        assert {change.path for change in difference.changes} == {
            "spec.overrides.mode",
            "spec.overrides.tenants[one]",
            "spec.overrides.tenants[two]",
        }
        assert difference.loosens == (
            "prod/chat: tenant two may call",
            "prod/chat: nothing is blocked any more: enforce -> shadow",
        )
        assert (await client.endpoints())[0].tenants == ("two",)
        assert (await client.mesh_undo("base")).endpoints == ("prod/chat",)
        assert (await client.endpoints())[0].tenants == ("one",)
        assert (await client.mesh_rollout("base", 2)).version == 4
        status = await client.mesh_status("base")
        assert (status.version, status.total, status.enforced, status.endpoints[0].name) == (4, 1, False, "prod/chat")  # fmt: skip
        document = (await client.mesh("base")).document
        assert yaml.safe_load(mesh(overrides={"tenants": ["two"], "mode": "shadow"})) == document
        await client.delete_mesh("base")
        assert (await client.endpoints())[0].tenants == ("acme",)
        with pytest.raises(NotFound):
            await client.mesh("base")


async def test_what_an_override_loosens_is_said_to_whoever_applies_either_document(
    house: Any, policy_text: str
) -> None:
    loose = mesh(overrides={"mode": "shadow"})
    async with house.client() as client:
        assert (await client.apply(policy_text)).warnings == ()
        for answer in (await client.validate(loose), await client.apply(loose), await client.apply(loose)):
            (warning,) = answer.warnings
            assert (warning.path, warning.document) == ("spec.overrides.mode", "")
            assert warning.message == "nothing is blocked any more: enforce -> shadow (at endpoint prod/chat)"
        for answer in (
            await client.validate(policy_text),
            await client.apply(policy_text),
            await client.rollout("prod/chat", 1),
        ):
            (warning,) = answer.warnings
            assert (warning.path, warning.document) == ("spec.overrides.mode", "MeshPolicy base")


async def test_the_effective_policy_has_the_origin_of_each_value(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        await client.apply(mesh(overrides={"limits": {"body": {"max": "2KiB"}}}))
        found = await client.effective("prod/chat")
        assert found.meshes == ("base",)
        assert found.document["spec"]["limits"]["body"] == {"max": "2KiB"}
        kinds = {one.path: (one.kind, one.document, one.written_at) for one in found.origins}
        assert kinds["spec.limits.body.max"] == ("override", "MeshPolicy base", "spec.overrides.limits.body.max")  # fmt: skip
        assert kinds["spec.input[0]"] == ("policy", "ModelPolicy prod/chat", "spec.input[0]")


async def test_a_refusal_names_the_document_that_each_problem_is_of(house: Any, policy_text: str) -> None:
    bad = mesh(overrides={"output": [{"tools": {}}], "listener": {"port": 8000}})
    async with house.client() as client:
        await client.apply(policy_text)
        for call in (client.apply, client.validate):
            with pytest.raises(PolicyInvalid) as refusal:
                await call(bad)
            assert {(one.document, one.path) for one in refusal.value.problems} == {
                ("MeshPolicy base", "spec.overrides.output[0].tools"),
                ("MeshPolicy base", "spec.overrides.listener.port"),
            }
        await client.apply(mesh(overrides={"mode": "enforce"}))
        with pytest.raises(Conflict, match="MeshPolicy base has priority 0"):
            await client.apply(mesh("other", overrides={"mode": "enforce"}))
        await client.apply(mesh("other", priority=1, overrides={"mode": "enforce"}))


@pytest.mark.parametrize(
    ("role", "may"),
    [("viewer", False), ("author", False), ("operator", False), ("platform", True), ("admin", True)],
)
async def test_only_who_may_write_mesh_policies_writes_them(
    house: Any, policy_text: str, role: str, may: bool
) -> None:
    text = mesh(overrides={"mode": "enforce"})
    async with house.client() as admin, house.client(await house.token(role)) as client:
        await admin.apply(policy_text)
        await client.validate(text)
        if may:
            await client.apply(text)
            await client.delete_mesh("base")
            return
        await admin.apply(text)
        for call in (
            client.apply(mesh(overrides={"mode": "shadow"})),
            client.delete_mesh("base"),
            client.mesh_undo("base"),
            client.mesh_rollout("base", 1),
        ):
            with pytest.raises(Forbidden):
                await call
        assert len(await client.meshes()) == 1
