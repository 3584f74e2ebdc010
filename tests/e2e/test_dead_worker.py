"""A guard worker that is dead has nothing to do, so that a balancer which looks for the idle one prefers it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bartizan.policy.bundle import Bundle
from tests.support.gateway import Gateway, StaticConfig, gateway
from tests.support.guard import KEY

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
        (guard,) = (one for one in config["static_resources"]["clusters"] if one["name"] == "bartizan-guard")
        del guard["outlier_detection"]
        return config

    async with gateway(POLICY.replace("INPUT", checks), never_ejected) as running:
        said = Counter(await asyncio.gather(*(one(running, number) for number in range(24) for _ in range(50))))
    assert said == {200: 24 * 50}


async def one(running: Gateway, number: int) -> int:
    await asyncio.sleep(number / 10)
    async with running.client.post(
        f"{running.url}/predict", json={"text": f"number {number}"}, headers={"x-api-key": KEY}
    ) as answer:
        return answer.status
