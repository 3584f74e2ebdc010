"""With redirect rules, real Envoy answers at the model's port from outside of the pod; without them the agent says so."""

from __future__ import annotations

import asyncio
import json
import os
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
USER, SIDECAR = 1000, 10443
_GET = """
import ssl, sys, urllib.request, urllib.error
context = ssl._create_unverified_context()
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=30, context=context)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    print(type(error).__name__, ""); sys.exit()
print(answer.status, answer.headers.get("x-bartizan-decision", ""))
print(answer.read().decode())
"""


_ASK_AGAIN = """
import json, sys, urllib.request
for line in sys.stdin:
    try:
        print(json.dumps(json.load(urllib.request.urlopen(sys.argv[1], timeout=30))), flush=True)
    except OSError:
        print("{}", flush=True)
"""


def get(network: PodNetwork, url: str) -> tuple[str, str, str]:
    """Status, decision id and body, asked from outside of the pod."""
    head, _, body = network.run(network.outside, sys.executable, "-c", _GET, url).stdout.partition("\n")
    status, _, decision = head.partition(" ")
    return status, decision.strip(), body


async def until(network: PodNetwork, *, ready: bool, around: bool) -> None:
    """The agent's own word, as kubelet and Prometheus reach it; asked by one process, however often."""
    asker = await asyncio.create_subprocess_exec(
        *network.inside(network.outside), sys.executable, "-c", _ASK_AGAIN, f"http://{POD}:{HEALTH}/status",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert asker.stdin is not None
    assert asker.stdout is not None
    seen: dict[str, Any] = {}
    try:
        for _ in range(150):
            asker.stdin.write(b"again\n")
            seen = json.loads(await asker.stdout.readline())
            held = set(seen.get("conditions", ()))
            if (
                seen
                and seen["ready"] is ready
                and (conditions.MODEL_REACHABLE_AROUND in held) is around
                and conditions.MODEL_UNCHECKED_AROUND not in held
            ):
                return
            await asyncio.sleep(0.2)
        raise AssertionError(seen)
    finally:
        asker.stdin.close()
        await asker.wait()


@pytest.fixture
async def pod() -> AsyncIterator[tuple[Local, PodNetwork]]:
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    with pod_network() as network:
        local = Local(folder=folder, model_port=MODEL, port=LISTENER, health=HEALTH)
        # As in a pod: a user of its own, which redirect rules know.
        local.prefix = tuple(network.inside(network.pod, SIDECAR))
        local.write_files()
        local.publish(2, local.policy(listener={**local.listener(), "address": "0.0.0.0"}))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, SIDECAR, SIDECAR)
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
    network.capture("--to-port", str(LISTENER), "--sidecar-uid", str(SIDECAR))
    await local.start(
        BARTIZAN_CAPTURE="redirect",
        BARTIZAN_POD_IPS=POD,
        BARTIZAN_HEALTH_LISTEN=f"0.0.0.0:{HEALTH}",
    )
    await until(network, ready=True, around=False)
    for port in (MODEL, LISTENER, 9999):
        status, decision, _ = get(network, f"https://{POD}:{port}/predict")
        assert status in {"401", "404", "503"}, "503: a guard that was waited for in vain"
        assert decision
    assert network.ask(network.pod, "127.0.0.1", MODEL) == "model", "there it is, for Envoy alone"

    network.run(network.pod, "nft", "delete", "table", "inet", "bartizan")
    assert network.ask(network.outside, POD, MODEL) == "model"
    await until(network, ready=True, around=True)
    network.capture("--to-port", str(LISTENER), "--sidecar-uid", str(SIDECAR))
    await until(network, ready=True, around=False)


async def test_with_capture_port_nothing_of_the_pod_may_answer_beyond_loopback_but_what_is_excluded(
    pod: tuple[Local, PodNetwork],
) -> None:
    local, network = pod
    options = {
        "BARTIZAN_CAPTURE": "port",
        "BARTIZAN_POD_IPS": POD,
        "BARTIZAN_HEALTH_LISTEN": f"0.0.0.0:{HEALTH}",
    }
    await local.start(**options)
    await until(network, ready=True, around=False)
    network.serve(network.pod, metrics=9100)
    await until(network, ready=True, around=True)
    assert local.child is not None
    await local.child.stop()
    await local.start(**options, BARTIZAN_OPEN_PORTS='{"9100": "metrics exporter"}')
    await until(network, ready=True, around=False)


async def test_containers_get_out_to_listed_names_only_whatever_address_they_choose(
    pod: tuple[Local, PodNetwork],
) -> None:
    local, network = pod
    listed, other, inner = "203.0.113.7", "203.0.113.8", "169.254.169.254"
    for address in (listed, other, inner):
        network.run(network.outside, "ip", "addr", "add", f"{address}/32", "dev", "lo")
    network.name(listed, "api.allowed.example")
    network.name(other, "other.example")
    chain = local.folder / "outside.pem"
    local.ca.issue_cert("api.allowed.example").private_key_and_cert_chain_pem.write_to_path(chain)
    network.serve_tls(network.outside, chain, listed, other, inner)
    network.serve(network.outside, plain=80)
    assert network.ask_tls(network.pod, other, "other.example", user=USER) == other, (
        "so it would be without rules"
    )

    egress = ("--egress", "none", "--egress-port", "15001", "--resolv-conf", "/dev/null")
    network.capture("--to-port", str(LISTENER), "--sidecar-uid", str(SIDECAR), *egress)
    await local.start(
        BARTIZAN_CAPTURE="redirect",
        BARTIZAN_POD_IPS=POD,
        BARTIZAN_HEALTH_LISTEN=f"0.0.0.0:{HEALTH}",
        BARTIZAN_EGRESS_NAMES="*.allowed.example",
    )
    await until(network, ready=True, around=False)
    reached = {
        "listed": network.ask_tls(network.pod, listed, "api.allowed.example", user=USER),
        "listed name, another address": network.ask_tls(network.pod, other, "api.allowed.example", user=USER),
        "listed name, metadata service": network.ask_tls(
            network.pod, inner, "api.allowed.example", user=USER
        ),
        "another name": network.ask_tls(network.pod, other, "other.example", user=USER),
        "another name, listed address": network.ask_tls(network.pod, listed, "other.example", user=USER),
        "a name below what is listed only in part": network.ask_tls(
            network.pod, listed, "allowed.example.net", user=USER
        ),
        "no TLS": network.ask(network.pod, listed, 80, user=USER, patience=30.0),
        "the sidecar itself": network.ask_tls(network.pod, other, "other.example", user=SIDECAR),
    }
    assert reached == {
        "listed": listed,
        "listed name, another address": listed,
        "listed name, metadata service": listed,
        "another name": "closed",
        "another name, listed address": "closed",
        "a name below what is listed only in part": "closed",
        "no TLS": "closed",
        "the sidecar itself": other,
    }
