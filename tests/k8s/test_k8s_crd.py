"""The CRD in a real API server: it installs, its rules refuse bad objects, nothing unknown is taken in silence."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
import yaml

from bartizan.errors import BartizanError, PolicyInvalid
from bartizan.policy.planned import FIELDS
from bartizan.policy.protocols import PROTOCOLS
from bartizan.policy.validate import validate_document
from tests.k8s.control import ROOT, KubeCluster

pytestmark = pytest.mark.asyncio(loop_scope="session")

GOOD: dict[str, Any] = {
    "apiVersion": "bartizan.dev/v1alpha1",
    "kind": "ModelPolicy",
    "metadata": {"name": "chat", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "chat"}},
        "listener": {"tls": "none"},
        "model": {"name": "m", "protocol": "json_fields"},
        "routes": [{"path": "/x", "inputText": ["$.text"]}],
        "tenants": ["acme"],
        "authn": {"apiKeys": {"set": "chat"}},
        "input": [{"promptInjection": None}, {"pii": {"action": "redact"}}],
    },
}


def changed(**spec: Any) -> dict[str, Any]:
    """GOOD with parts of its spec replaced; None takes a part out."""
    made = copy.deepcopy(GOOD)
    for name, value in spec.items():
        if value is None:
            made["spec"].pop(name)
        else:
            made["spec"][name] = value
    return made


async def answer(cluster: KubeCluster, document: Any) -> str:
    """Why the API server would not take it; "" when it would. Asked without strictness, as controllers ask."""
    try:
        await cluster.server.post(
            "/apis/bartizan.dev/v1alpha1/namespaces/default/modelpolicies",
            document,
            dryRun="All",
            fieldValidation="Ignore",
        )
    except BartizanError as error:
        return str(error)
    return ""


EXAMPLES = sorted((ROOT / "examples/policies").glob("*.yaml"))


async def test_a_good_object_is_taken_whole(cluster: KubeCluster) -> None:
    cluster.apply(GOOD)
    stored = await cluster.server.get("/apis/bartizan.dev/v1alpha1/namespaces/default/modelpolicies/chat")
    assert stored["spec"] == GOOD["spec"], "also the bare check"
    assert cluster.kubectl("delete", "modelpolicy", "chat").returncode == 0


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
async def test_every_example_policy_is_accepted(cluster: KubeCluster, example: Any) -> None:
    document = yaml.safe_load(example.read_text())
    document["metadata"]["namespace"] = "default"
    assert await answer(cluster, document) == ""


REFUSED = {
    "no method": (changed(authn={}), "names no method"),
    "allow and deny": (changed(authz=[{"name": "a", "allow": "true", "deny": "true"}]), "exactly one of allow and deny"),
    "neither": (changed(authz=[{"name": "a"}]), "exactly one of allow and deny"),
    "routes of openai": (changed(model={"name": "m", "protocol": "openai"}), "openai know their own paths"),
    "no routes": (changed(routes=None), "need at least one route"),
    "shared port": (changed(listener={"tls": "none", "port": 8000}), "can't share it"),
    "opaque checks": (changed(model={"name": "m", "protocol": "opaque"}), "can't read bodies of protocol opaque"),
    "two limits per key": (
        changed(limits={"requests": [{"per": "key", "rate": "1/s"}, {"per": "key", "rate": "2/s"}]}),
        "at most one limit",
    ),
    "tls word": (changed(listener={"tls": "maybe"}), "spec.listener.tls"),
    "tls half": (changed(listener={"tls": {"cert": "file:a.crt"}}), "spec.listener.tls.key"),
    "rate": (changed(limits={"requests": [{"per": "key", "rate": "often"}]}), "spec.limits.requests[0].rate"),
    "two checks in one": (changed(input=[{"pii": {}, "secrets": {}}]), "spec.input[0]"),
    "missing field": (changed(model=None), "spec.model"),
    "name": ({**GOOD, "metadata": {"name": "a.b", "namespace": "default"}}, "RFC 1123 label"),
    "planned field": (changed(quota={}), "spec.quota: "),
    "misspelt field": (changed(limts={}), "spec: a field here is not part of the language"),
    "misspelt check": (changed(input=[{"promptInjecton": {}}]), "spec.input: a field here"),
    "misspelt beside a check": (changed(input=[{"pii": {}, "promptInjecton": {}}]), "spec.input[0]: Too many: 2"),
    "misspelt below a check": (changed(input=[{"pii": {"acton": "deny"}}]), "spec.input.pii: a field here"),
    "misspelt in tls": (changed(listener={"tls": {"cert": "file:a", "key": "file:b", "ca": "file:c"}}), "spec.listener.tls: a field"),
    "misspelt below lists": (changed(routes=[{"path": "/x", "methd": "GET"}]), "spec.routes: a field here"),
}  # fmt: skip


def with_planned(path: str) -> dict[str, Any]:
    """GOOD with a planned field in it: "spec.input[].image" becomes a list with one such mapping."""
    *steps, last = path.removeprefix("spec.").split(".")
    inner: Any = {last: {"max": 1}}
    for step in reversed(steps):
        inner = {step.removesuffix("[]"): [inner] if step.endswith("[]") else inner}
    ((name, value),) = inner.items()
    known = GOOD["spec"].get(name)
    return changed(**{name: {**known, **value} if isinstance(known, dict) else value})


@pytest.mark.parametrize("path", [path for path in FIELDS if path.startswith("spec.")])
async def test_every_planned_field_is_refused_as_planned(cluster: KubeCluster, path: str) -> None:
    async with asyncio.timeout(60):
        while f"{FIELDS[path]}: planned" not in (said := await answer(cluster, with_planned(path))):
            assert "is invalid" not in said
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("checks", [None, [{"pii": {}}]], ids=["no-checks", "pii"])
@pytest.mark.parametrize("routes", [None, [], [{"path": "/x"}]], ids=["no-routes", "empty", "one"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_the_language_accepts_the_rules_accept(
    cluster: KubeCluster, protocol: str, routes: Any, checks: Any
) -> None:
    model = {"name": "m", "protocol": protocol}
    document = changed(model=model, routes=routes, input=checks)
    try:
        validate_document(document)
    except PolicyInvalid:
        return  # the rules may say less than the language, never more
    assert await answer(cluster, document) == ""


@pytest.mark.parametrize("case", sorted(REFUSED))
async def test_a_bad_object_is_refused_with_the_reason(cluster: KubeCluster, case: str) -> None:
    document, why = REFUSED[case]
    # The field policy is compiled a moment after it was created.
    for _ in range(600):
        said = await answer(cluster, document)
        if said:
            break
        await asyncio.sleep(0.1)
    assert why in said


async def test_a_bare_check_that_kubectl_apply_has_dropped_is_refused_and_not_lost(
    cluster: KubeCluster,
) -> None:
    done = cluster.kubectl("apply", "--dry-run=server", "-f", "-", manifest=GOOD)
    assert "spec.input[0] in body should have at least 1 properties" in done.stderr
    done = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", manifest=GOOD)
    assert done.returncode == 0, done.stderr


async def test_kubectl_explains_fields_and_shows_columns(cluster: KubeCluster) -> None:
    explained = cluster.kubectl("explain", "modelpolicy.spec.tenants")
    assert "A caller of any other tenant gets 403" in explained.stdout, explained.stderr
    cluster.apply(changed(input=[{"promptInjection": {}}]))
    table = cluster.kubectl("get", "mp", "chat")
    assert table.stdout.split()[:4] == ["NAME", "STATUS", "REVISION", "MODE"]
    assert cluster.kubectl("delete", "modelpolicy", "chat").returncode == 0
