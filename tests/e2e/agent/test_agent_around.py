"""In Kubernetes the agent says whether the model is reachable around Envoy, with real Envoy and a real model."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.agent import conditions
from tests.support.agent_stand import Local

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("agent-around")]
POD_IP = "127.0.0.7"


async def test_a_model_that_listens_on_the_pods_address_is_reported_until_it_no_longer_does(
    local: Local,
) -> None:
    around = await asyncio.start_server(lambda _r, w: w.close(), POD_IP, local.model_port)
    await local.start(BARTIZAN_CAPTURE="port", BARTIZAN_POD_IPS=POD_IP)
    status = await local.until(lambda now: conditions.MODEL_REACHABLE_AROUND in now["conditions"])
    assert conditions.MODEL_UNCHECKED_AROUND not in status["conditions"]
    assert status["ready"], (
        "its policy holds at the listener: traffic goes on, only the status does not claim more"
    )
    around.close()
    await local.until(lambda now: now["ready"] and conditions.MODEL_REACHABLE_AROUND not in now["conditions"])


async def test_without_an_address_to_look_at_it_never_claims_to_have_looked(local: Local) -> None:
    await local.start(BARTIZAN_CAPTURE="port")
    status = await local.until(lambda now: bool(now["ready"]))
    assert conditions.MODEL_UNCHECKED_AROUND in status["conditions"]
