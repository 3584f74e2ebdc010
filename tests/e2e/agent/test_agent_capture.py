"""With redirect rules, real Envoy answers at the model's port from outside of the pod; without them the agent says so."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.agent import conditions
from tests.support.agent_stand import Local
from tests.support.orphans import end_orphans
from tests.support.pod_network import POD, PodNetwork, missing, pod_network

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("capture"),
    pytest.mark.skipif(bool(missing()), reason=f"redirect rules are not tried: {missing()}"),
]
MODEL, LISTENER, HEALTH = 8000, 8443, 15020
_GET = """
import ssl, sys, urllib.request, urllib.error
context = ssl._create_unverified_context()
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=5, context=context)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    print(type(error).__name__, ""); sys.exit()
print(answer.status, answer.headers.get("x-bartizan-decision", ""))
print(answer.read().decode())
"""


def get(network: PodNetwork, url: str) -> tuple[str, str, str]:
    """Status, decision id and body, asked from outside of the pod."""
    head, _, body = network.run(network.outside, sys.executable, "-c", _GET, url).stdout.partition("\n")
    status, _, decision = head.partition(" ")
    return status, decision.strip(), body


async def until(network: PodNetwork, *, ready: bool, around: bool) -> None:
    """The agent's own word, as kubelet and Prometheus reach it."""
    seen: dict[str, Any] = {}
    for _ in range(150):
        status, _, body = await asyncio.to_thread(get, network, f"http://{POD}:{HEALTH}/status")
        if status == "200":
            seen = json.loads(body)
            held = set(seen["conditions"])
            if (
                seen["ready"] is ready
                and (conditions.MODEL_REACHABLE_AROUND in held) is around
                and conditions.MODEL_UNCHECKED_AROUND not in held
            ):
                return
        await asyncio.sleep(0.2)
    raise AssertionError(seen)


@pytest.fixture
async def pod() -> AsyncIterator[tuple[Local, PodNetwork]]:
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    with pod_network() as network:
        local = Local(folder=folder, model_port=MODEL, port=LISTENER, health=HEALTH)
        local.prefix = tuple(network.inside(network.pod))
        local.write_files()
        local.publish(2, local.policy(listener={**local.listener(), "address": "0.0.0.0"}))
        try:
            yield local, network
        finally:
            if local.child is not None:
                await local.child.stop()
            end_orphans(folder)
            shutil.rmtree(folder, ignore_errors=True)


async def test_from_outside_envoy_answers_at_the_models_port_and_the_agent_knows_whether_it_does(
    pod: tuple[Local, PodNetwork],
) -> None:
    local, network = pod
    network.serve(network.pod, model=MODEL)
    network.capture("--to-port", str(LISTENER), "--sidecar-uid", "10443")
    await local.start(
        BARTIZAN_CAPTURE="redirect",
        BARTIZAN_POD_IPS=POD,
        BARTIZAN_HEALTH_LISTEN=f"0.0.0.0:{HEALTH}",
    )
    await until(network, ready=True, around=False)
    for port in (MODEL, LISTENER, 9999):
        status, decision, _ = get(network, f"https://{POD}:{port}/predict")
        assert status in {"401", "404"}
        assert decision
    assert network.ask(network.pod, "127.0.0.1", MODEL) == "model", "there it is, for Envoy alone"

    network.run(network.pod, "nft", "delete", "table", "inet", "bartizan")
    assert network.ask(network.outside, POD, MODEL) == "model"
    await until(network, ready=True, around=True)
    network.capture("--to-port", str(LISTENER), "--sidecar-uid", "10443")
    await until(network, ready=True, around=False)
