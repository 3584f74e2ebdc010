"""A guard worker that is dead has nothing to do, so that a balancer which looks for the idle one prefers it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bartizan.policy import names
from bartizan.policy.bundle import Bundle
from sidecar.agent.bootstrap import ADMIN_SOCKET
from tests.support.gateway import Gateway, StaticConfig, gateway
from tests.support.guard import KEY, guard_worker

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("dead-worker"), pytest.mark.asyncio]

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: dead}
spec:
  selector: {matchLabels: {app: dead}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: dead, protocol: json_fields, port: {model}}
  routes: [{path: /predict, inputText: [$.text], outputText: [$.echo]}]
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  INPUT
"""
IN_THE_CALL = "input: [{secrets: {}}]"
IN_A_STREAM = "input: [{pii: {action: redact}}]"


@pytest.mark.parametrize("checks", [IN_THE_CALL, IN_A_STREAM])
async def test_requests_at_once_find_the_living_worker_whatever_the_balancer_prefers(
    static_config: StaticConfig, checks: str
) -> None:
    """Envoy knows of two workers, of which one runs, and keeps no list of those that failed."""

    def never_ejected(bundle: Bundle, run_dir: Path) -> dict[str, Any]:
        config = static_config(bundle, run_dir)
        del guard_cluster(config)["outlier_detection"]
        return config

    async with gateway(POLICY.replace("INPUT", checks), never_ejected) as running:
        said = Counter(
            await asyncio.gather(*(one(running, number) for number in range(24) for _ in range(50)))
        )
    assert said == {200: 24 * 50}


async def test_a_dead_worker_is_not_the_only_one_asked_when_the_living_one_was_slow(
    static_config: StaticConfig,
) -> None:
    """Envoy passes over a worker that made it wait; so does it over one that is dead, but then nobody would be left."""

    def ejected_for_long(bundle: Bundle, run_dir: Path) -> dict[str, Any]:
        config = static_config(bundle, run_dir)
        guard_cluster(config)["outlier_detection"] |= {
            "base_ejection_time": "60s",
            "max_ejection_time": "60s",
        }
        return config

    async with (
        gateway(POLICY.replace("INPUT", IN_THE_CALL), ejected_for_long, patience=False) as running,
        guard_worker(run_dir=running.guard.socket.parent, number=1) as dying,
    ):
        assert not (await dying.load(running.bundle.plan)).error
        living = running.guard.child.process.pid
        os.kill(living, signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):
                while not await ejections(running):
                    await asyncio.gather(*(one(running, 0) for _ in range(8)))
        finally:
            os.kill(living, signal.SIGCONT)
        dying.child.process.kill()
        await dying.child.process.wait()
        said = Counter(await asyncio.gather(*(patiently(running) for _ in range(50))))
    assert said == {200: 50}


async def test_what_a_hung_worker_holds_is_asked_of_another_long_before_envoy_gives_up(
    static_config: StaticConfig,
) -> None:
    """A check has a minute here, an attempt the second that the agent gives it where there are two workers."""

    def a_minute_for_all_attempts(bundle: Bundle, run_dir: Path) -> dict[str, Any]:
        config = static_config(bundle, run_dir)
        (listener,) = config["static_resources"]["listeners"]
        chain = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        (check,) = (one["typed_config"] for one in chain if one["name"] == "envoy.filters.http.ext_authz")
        check["grpc_service"]["timeout"] = "60s"
        return config

    async with (
        gateway(POLICY.replace("INPUT", IN_THE_CALL), a_minute_for_all_attempts, patience=False) as running,
        guard_worker(run_dir=running.guard.socket.parent, number=1) as hung,
    ):
        assert not (await hung.load(running.bundle.plan)).error
        os.kill(hung.child.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(30):
                while not await ejections(running):
                    said = await asyncio.gather(*(one(running, 0) for _ in range(8)))
                    assert said == [200] * 8
        finally:
            os.kill(hung.child.process.pid, signal.SIGCONT)


def guard_cluster(config: dict[str, Any]) -> dict[str, Any]:
    clusters: list[dict[str, Any]] = config["static_resources"]["clusters"]
    (guard,) = (one for one in clusters if one["name"] == names.CLUSTER_GUARD)
    return guard


async def ejections(running: Gateway) -> int:
    """How often Envoy began to pass over a worker."""
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(running.guard.socket.parent / ADMIN_SOCKET))
        ) as session,
        session.get(
            "http://admin/stats", params={"filter": r"guard\.outlier_detection\.ejections_enforced_total$"}
        ) as answer,
    ):
        return int((await answer.text()).rpartition(":")[2])


async def patiently(running: Gateway) -> int:
    async with running.post("/predict", json={"text": "hi"}, headers={"x-api-key": KEY}) as answer:
        return answer.status


async def one(running: Gateway, number: int) -> int:
    await asyncio.sleep(number / 10)
    async with running.client.post(
        f"{running.url}/predict", json={"text": f"number {number}"}, headers={"x-api-key": KEY}
    ) as answer:
        return answer.status
