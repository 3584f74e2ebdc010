"""What a policy's engine opens, closes and patches, against real Envoy, agent and worker."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.policy.engines import profiles
from tests.support.field_world import World
from tests.support.raw_client import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}


def use(world: World, engine: str | None, protocol: str = "json_fields", **more: Any) -> None:
    model = {"name": "m-1", "protocol": protocol, "port": "{model}", **more}
    model |= {"engine": engine} if engine else {}
    if protocol == "openai":
        world.use(model=model, routes=None)
        world.model.says = "chat"
    else:
        world.use(model=model)


def test_routes_for_administration_and_debugging_are_refused_by_name(world: World) -> None:
    for name, profile in profiles().items():
        use(world, name)
        closed = next(route for route in profile.routes if route.kind in {"admin", "debug", "metrics"})
        path = closed.path.replace("*", "x")
        before = world.reached()
        answer = world.ask(path, method=closed.method or "POST")
        assert (answer.status, world.reached()) == (403, before), name
        decision = answer.headers["x-bartizan-decision"]
        causes = {"engine_route"}
        assert wait_until(
            lambda: {one["cause"] for one in world.sidecar.records() if one["id"] == decision} == causes  # noqa: B023
        ), name
        assert world.ask().status == 200
    for unknown in ("other", None):
        use(world, unknown)
        assert world.ask("/metrics", method="GET").status == 404


def test_exposed_routes_are_served_to_authenticated_callers_and_their_bodies_not_read(world: World) -> None:
    paths = {"health": "/health", "metadata": "/version", "metrics": "/metrics"}
    for exposed, path in paths.items():
        use(world, "vllm", "openai", expose=[exposed])
        world.model.says = "html"
        assert world.ask(path, method="GET").body == b"<p>jane@example.org</p>"
        assert world.ask(path, method="GET", key="").status == 401
        assert world.ask(path).status in {403, 404}, "GET only"
        for other in paths.values():
            if other != path:
                assert world.ask(other, method="GET").status in {403, 404}


def test_requests_that_known_vulnerabilities_need_are_refused_unless_patches_are_off(world: World) -> None:
    attack = {**HELLO, "n": 10**9}
    use(world, "vllm", "openai")
    before = world.reached()
    answer = world.ask(CHAT, attack)
    assert (answer.status, world.reached()) == (403, before)
    record = world.record(answer)
    assert (record["cause"], record["detail"]) == ("virtual_patch", "CVE-2026-34756")
    assert world.ask(CHAT, HELLO).status == 200
    for engine, switch in (("vllm", "off"), ("sglang", "on"), (None, "on")):
        use(world, engine, "openai", virtualPatches=switch)
        assert world.ask(CHAT, attack).status == 200
