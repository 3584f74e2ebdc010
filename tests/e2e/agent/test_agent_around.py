"""In Kubernetes the agent says what is reachable around Envoy, with real Envoy and a real model.

Other processes of this machine may be, too: what is asserted to be closed is named by its port. Where the pod has a
network of its own (test_agent_capture.py) nothing at all may answer.
"""

from __future__ import annotations

import asyncio
import json

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
    # Ready: its policy holds at the listener, so traffic goes on; only the status does not claim more.
    status = await local.until(lambda now: now["ready"] and local.model_port in now["around"]["open_ports"])
    assert conditions.MODEL_REACHABLE_AROUND in status["conditions"]
    assert conditions.MODEL_UNCHECKED_AROUND not in status["conditions"]
    around.close()
    await local.until(lambda now: now["ready"] and local.model_port not in now["around"]["open_ports"])


async def test_any_other_port_is_reported_unless_it_is_excluded_with_a_reason(local: Local) -> None:
    servers = [await asyncio.start_server(lambda _r, w: w.close(), POD_IP, 0) for _ in range(2)]
    debug, metrics = (each.sockets[0].getsockname()[1] for each in servers)
    await local.start(
        BARTIZAN_CAPTURE="port",
        BARTIZAN_POD_IPS=POD_IP,
        BARTIZAN_OPEN_PORTS=json.dumps({metrics: "metrics exporter", local.model_port: "no reason counts"}),
    )
    status = await local.until(lambda now: debug in now["around"]["open_ports"])
    assert metrics not in status["around"]["open_ports"]
    assert local.port not in status["around"]["open_ports"], "Envoy's own"
    assert status["around"]["excluded_ports"][str(metrics)] == "metrics exporter"
    around = await asyncio.start_server(lambda _r, w: w.close(), POD_IP, local.model_port)
    await local.until(lambda now: local.model_port in now["around"]["open_ports"])
    for each in (around, *servers):
        each.close()
    await local.until(lambda now: not {debug, local.model_port} & set(now["around"]["open_ports"]))


async def test_without_an_address_to_look_at_it_never_claims_to_have_looked(local: Local) -> None:
    await local.start(BARTIZAN_CAPTURE="port")
    status = await local.until(lambda now: bool(now["ready"]))
    assert conditions.MODEL_UNCHECKED_AROUND in status["conditions"]
