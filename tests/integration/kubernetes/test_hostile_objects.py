"""What one tenant puts into a namespace is told at that object, and keeps nobody else's policy waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server_stand import policy_path
from tests.support.reconciling import SPEC, Running, reconciling

DEEP = "nested as deep as an API server takes"
OBJECTS = [
    pytest.param({**SPEC, "unknown": DEEP}, {}, "nested deeper than 32", id="deep spec"),
    pytest.param(DEEP, {}, "nested deeper than 32", id="nothing but depth"),
    pytest.param(SPEC, {"managedFields": [{"fieldsV1": DEEP}]}, "", id="deep managed fields"),
    pytest.param({**SPEC, "description": "x" * 1_400_000}, {}, "a policy has at most", id="large"),
    pytest.param({**SPEC, "tenants": ["a"] * 90_000}, {}, "a policy has at most", id="long"),
    pytest.param(None, {}, "spec", id="no spec"),
    pytest.param("text", {}, "spec", id="text"),
    pytest.param([SPEC], {}, "spec", id="list"),
    pytest.param({**SPEC, "routes": {"path": 1}}, {}, "spec.routes", id="wrong type"),
    pytest.param({**SPEC, "tenants": ["\0"]}, {}, "spec.tenants", id="NUL"),
    pytest.param({**SPEC, "\0": 1}, {}, "is not part of the language", id="NUL in a key"),
    pytest.param({**SPEC, "tenants": [1e300, 2**63]}, {}, "spec.tenants", id="numbers"),
]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with reconciling(tmp_path, retry=0.05) as made:
        made.cluster.verbatim[DEEP] = '{"a":' * 9_990 + "1" + "}" * 9_990
        yield made


def hostile(running: Running, spec: Any, metadata: dict[str, Any]) -> None:
    made = running.cluster.policy("bad", spec, "hostile")
    path = policy_path("bad", "hostile")
    running.cluster.put(path, {**made, "metadata": {**made["metadata"], **metadata}})


async def told(running: Running, said: str) -> None:
    def about_it(status: dict[str, Any]) -> bool:
        accepted = status["conditions"][0]
        return accepted["status"] == ("False" if said else "True") and said in accepted["message"]

    await running.until(about_it, "bad", "hostile")


@pytest.mark.parametrize(("spec", "metadata", "said"), OBJECTS)
async def test_an_object_that_is_listed_is_told_of_and_others_are_taken(
    running: Running, spec: Any, metadata: dict[str, Any], said: str
) -> None:
    await running.stop()
    hostile(running, spec, metadata)
    running.cluster.policy("chat", SPEC)
    running.start()
    await running.summary("NO SIDECAR")
    await told(running, said)


@pytest.mark.parametrize(("spec", "metadata", "said"), OBJECTS)
async def test_an_object_that_is_watched_is_told_of_and_others_are_taken(
    running: Running, spec: Any, metadata: dict[str, Any], said: str
) -> None:
    running.cluster.policy("first", SPEC)
    await running.summary("NO SIDECAR", "first")
    hostile(running, spec, metadata)
    running.cluster.policy("chat", {**SPEC, "selector": {"matchLabels": {"app": "other"}}})
    await running.summary("NO SIDECAR")
    await told(running, said)


@pytest.mark.parametrize("watched", [False, True])
async def test_no_depth_is_one_too_many(running: Running, *, watched: bool) -> None:
    """Around the depth at which the decoder gives up, and the encoder a few calls further in."""
    depths = range(930, 1_000)
    running.cluster.verbatim = {f"{depth} deep": "[" * depth + "]" * depth for depth in depths}
    if watched:
        running.cluster.policy("first", SPEC, "other")
        await running.summary("NO SIDECAR", "first", "other")
    else:
        await running.stop()
    for depth in depths:
        running.cluster.policy(f"deep-{depth}", {**SPEC, "unknown": f"{depth} deep"}, "hostile")
    running.cluster.policy("chat", SPEC)
    if not watched:
        running.start()
    await running.summary("NO SIDECAR")
    for depth in depths:
        await running.summary("INVALID", f"deep-{depth}", "hostile")
