"""The OpenAPI document is what is served: every documented operation is played, every answer checked against its schema."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonschema
import pytest

MESH = """apiVersion: bartizan.dev/v1alpha1
kind: MeshPolicy
metadata: {name: all}
spec:
  selector: {}
  overrides:
    authz: [{name: no-trial, deny: 'identity.plan == "trial"'}]
"""
# operationId -> (path values, query, body); {key}, {token} … are filled in from earlier answers.
PLAYS: list[tuple[str, dict[str, str], dict[str, str], Any]] = [
    ("get_healthz", {}, {}, None),
    ("get_readyz", {}, {}, None),
    ("get_trust", {}, {}, None),
    ("post_policies_validate", {}, {}, "policy"),
    ("post_policies", {}, {"reason": "first", "rollout": "true"}, "policy"),
    ("post_policies", {}, {}, "edited policy"),
    ("get_policies", {}, {"namespace": "prod"}, None),
    ("get_policies_namespace_name", {"namespace": "prod", "name": "chat"}, {}, None),
    ("get_policies_namespace_name_revisions", {"namespace": "prod", "name": "chat"}, {}, None),
    (
        "get_policies_namespace_name_revisions_number",
        {"namespace": "prod", "name": "chat", "number": "1"},
        {},
        None,
    ),
    ("get_policies_namespace_name_publications", {"namespace": "prod", "name": "chat"}, {}, None),
    (
        "get_policies_namespace_name_publications_version",
        {"namespace": "prod", "name": "chat", "version": "1"},
        {},
        None,
    ),
    ("get_policies_namespace_name_diff", {"namespace": "prod", "name": "chat"}, {"from": "1"}, None),
    ("post_policies_namespace_name_rollouts", {"namespace": "prod", "name": "chat"}, {}, {"revision": 1}),
    ("post_policies_namespace_name_undo", {"namespace": "prod", "name": "chat"}, {}, None),
    (
        "get_policies_namespace_name_status",
        {"namespace": "prod", "name": "chat"},
        {"wait": "enforced", "timeout": "0.01"},
        None,
    ),
    ("get_policies_namespace_name_effective", {"namespace": "prod", "name": "chat"}, {}, None),
    ("post_policies", {}, {}, "mesh policy"),
    ("post_policies", {}, {}, "edited mesh policy"),
    ("get_mesh_policies", {}, {}, None),
    ("get_mesh_policies_name", {"name": "all"}, {}, None),
    ("get_mesh_policies_name_revisions", {"name": "all"}, {}, None),
    ("get_mesh_policies_name_revisions_number", {"name": "all", "number": "1"}, {}, None),
    ("get_mesh_policies_name_diff", {"name": "all"}, {"from": "1"}, None),
    ("get_mesh_policies_name_status", {"name": "all"}, {}, None),
    ("post_mesh_policies_name_rollouts", {"name": "all"}, {}, {"revision": 1}),
    ("post_mesh_policies_name_undo", {"name": "all"}, {}, None),
    ("delete_mesh_policies_name", {"name": "all"}, {}, None),
    ("put_key_sets_set", {"set": "chat"}, {}, None),
    ("get_key_sets", {}, {}, None),
    ("post_key_sets_set_keys", {"set": "chat"}, {}, {"tenant": "acme", "ttl_seconds": 60}),
    ("get_key_sets_set_keys", {"set": "chat"}, {}, None),
    ("get_key_sets_set", {"set": "chat"}, {}, None),
    ("delete_key_sets_set_keys_key", {"set": "chat", "key": "{id}"}, {}, None),
    ("get_endpoints", {}, {}, None),
    ("get_instances", {}, {}, None),
    ("post_join_tokens", {}, {}, {"spiffe_id": "spiffe://test.local/ns/prod/sa/m", "labels": {"app": "x"}}),
    ("get_join_tokens", {}, {}, None),
    ("delete_join_tokens_token", {"token": "{id}"}, {}, None),
    ("put_secrets_name", {"name": "upstream"}, {}, {"class": "provider"}),
    ("get_secrets", {}, {}, None),
    ("get_secrets_name", {"name": "upstream"}, {}, None),
    ("post_secrets_name_rotations", {"name": "upstream"}, {}, None),
    ("post_secrets_name_rotation_rollback", {"name": "upstream"}, {}, None),
    ("get_secrets_name_rotation", {"name": "upstream"}, {}, None),
    ("get_audit", {}, {"limit": "5"}, None),
    ("get_events", {}, {"limit": "5"}, None),
    ("get_tokens", {}, {}, None),
    ("post_tokens", {}, {}, {"role": "viewer", "name": "v"}),
    ("delete_tokens_token", {"token": "{id}"}, {}, None),
    ("delete_policies_namespace_name", {"namespace": "prod", "name": "chat"}, {}, None),
]
# Played where they must be refused: no sidecar has attested here.
REFUSED = [("delete_instances_instance", {"instance": "none"}, 404)]


class Caller:
    """Plays operations of the document and checks every answer against it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
        self._url, self._session, self._context = url, session, context
        self.document: dict[str, Any] = {}
        self.operations: dict[str, tuple[str, str, dict[str, Any]]] = {}

    async def read(self) -> None:
        async with self._session.get(self._url + "/openapi.json", ssl=self._context) as answer:
            self.document = await answer.json()
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                self.operations[operation["operationId"]] = (method, path, operation)

    async def play(
        self, name: str, path_values: dict[str, str], query: dict[str, str], body: Any, token: str
    ) -> tuple[int, Any]:
        method, path, operation = self.operations[name]
        for key, value in path_values.items():
            path = path.replace(f"{{{key}}}", value)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        sent = {"data": body, "headers": {**headers, "content-type": "application/yaml"}}
        if not isinstance(body, str):
            sent = {"json": body, "headers": headers} if body is not None else {"headers": headers}
        async with self._session.request(
            method, self._url + path, params=query, ssl=self._context, **sent
        ) as answer:
            assert str(answer.status) in operation["responses"], (name, answer.status, await answer.text())
            content = operation["responses"][str(answer.status)].get("content")
            if content is None:
                assert await answer.read() == b""
                return answer.status, None
            kind = answer.content_type
            value = await answer.json(content_type=kind)
            schema = {**content[kind]["schema"], "components": self.document["components"]}
            jsonschema.Draft202012Validator(schema).validate(value)
            return answer.status, value


@pytest.fixture
async def caller(house: Any) -> AsyncIterator[Caller]:
    context = ssl.create_default_context(cafile=house.ca_file)
    async with aiohttp.ClientSession() as session:
        made = Caller(house.url, session, context)
        await made.read()
        yield made


async def test_every_documented_operation_answers_as_documented(
    house: Any, caller: Caller, policy_text: str
) -> None:
    bodies = {
        "policy": policy_text,
        "edited policy": policy_text.replace("[acme]", "[acme, globex]"),
        "mesh policy": MESH,
        "edited mesh policy": MESH.replace("trial", "free"),
    }
    last_id = ""
    for name, path_values, query, body in PLAYS:
        filled = {key: value.replace("{id}", last_id) for key, value in path_values.items()}
        sent = bodies.get(body, body) if isinstance(body, str) else body
        status, value = await caller.play(name, filled, query, sent, house.admin)
        assert 200 <= status < 300, (name, value)
        if isinstance(value, dict) and "id" in value:
            last_id = value["id"]
    for name, path_values, status in REFUSED:
        assert (await caller.play(name, path_values, {}, None, house.admin))[0] == status
    played = {name for name, *_ in [*PLAYS, *REFUSED]}
    assert played == set(caller.operations)


async def test_no_operation_but_the_public_ones_answers_without_a_token(house: Any, caller: Caller) -> None:
    public = set()
    for name, (_, _, operation) in caller.operations.items():
        values = {
            parameter["name"]: "x" for parameter in operation["parameters"] if parameter["in"] == "path"
        }
        if operation["security"]:
            status, value = await caller.play(name, values, {}, None, "")
            assert (status, value["code"]) == (401, "unauthenticated"), name
        else:
            public.add(name)
    assert public == {"get_healthz", "get_readyz", "get_trust"}


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", {"read"}),
        ("author", {"read", "write_policies", "roll_out"}),
        ("platform", {"read", "write_policies", "write_mesh_policies", "roll_out"}),
        ("operator", {"read", "roll_out", "manage_keys", "manage_fleet", "manage_secrets"}),
        ("auditor", {"read", "read_audit"}),
    ],
)
async def test_each_role_is_refused_every_operation_that_is_not_its_own(
    house: Any, caller: Caller, role: str, may: set[str]
) -> None:
    token = await house.token(role)
    for name, (_, _, operation) in caller.operations.items():
        if operation.get("x-bartizan-permission", "read") not in may:
            values = {p["name"]: "x" for p in operation["parameters"] if p["in"] == "path"}
            status, value = await caller.play(name, values, {}, None, token)
            assert (status, value["code"]) == (403, "forbidden"), name


async def test_the_document_is_closed_and_well_formed(caller: Caller) -> None:
    text = str(caller.document)
    components = caller.document["components"]["schemas"]
    for name in components:
        jsonschema.Draft202012Validator.check_schema(components[name])
    used = {part.partition("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= set(components)
    assert caller.document["openapi"].startswith("3.1")
