"""Requests that Envoy let in by itself and whose access-log entries never reached the agent: a gap says how many."""

from __future__ import annotations

import http.client
import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bartizan.policy.keyset import KeySet
from tests.support.local_sidecar import LocalSidecar, enforced
from tests.support.raw_client import wait_until
from tests.support.raw_model import RawModel
from tests.support.tokens import AUDIENCE, Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("missing-entries")]

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {{name: native}}
spec:
  selector: {{matchLabels: {{app: native}}}}
  listener: {{address: 127.0.0.1, port: {{port}}, tls: none}}
  model: {{name: m, protocol: json_fields, port: {{model}}}}
  routes: [{{path: /in, inputText: [$.text]}}]
  tenants: [acme]
  authn: {{jwt: [{{issuer: "{issuer}", audiences: ["{audience}"], jwksUri: "{issuer}/jwks", claims: {{tenant: org}}}}]}}
"""


@dataclass(slots=True)
class World:
    sidecar: LocalSidecar
    issuer: Issuer

    def ask(self, times: int, padding: str = "") -> None:
        """So many requests that Envoy lets in by itself, one after the other."""
        connection = http.client.HTTPConnection("127.0.0.1", self.sidecar.port, timeout=30)
        token = self.issuer.signed(claims={"padding": padding})
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        for _ in range(times):
            connection.request("POST", "/in", b'{"text": "hi"}', headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            assert "-" in (answer.getheader("x-bartizan-decision") or ""), (
                "Envoy's own id: no guard was asked"
            )
        connection.close()

    def recorded(self) -> int:
        """Requests that have a record."""
        return sum(record.get("source") == "envoy" for record in self.sidecar.records())

    def gaps(self) -> list[Mapping[str, Any]]:
        return [record for record in self.sidecar.records() if record["type"] == "gap"]

    def lost(self, reason: str) -> int:
        return sum(gap["lost"] for gap in self.gaps() if gap["reason"] == reason)

    def counted(self, metric: str) -> int:
        """A counter of the agent, over all labels."""
        lines = self.sidecar.fetch("/metrics").decode().splitlines()
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric)))

    def until(self, happened: Any) -> None:
        found = wait_until(happened, 60)
        assert found, (self.recorded(), self.gaps(), self.sidecar.log()[-2000:])


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        issuer, model = Issuer(Path(folder)), RawModel()
        sidecar = LocalSidecar(
            POLICY.format(issuer=issuer.url, audience=AUDIENCE),
            model.port,
            KeySet(name="keys", version=1, keys=()),
            SSL_CERT_FILE=str(issuer.ca_file),
            BARTIZAN_JWKS_ALLOW=issuer.address,
        )
        try:
            sidecar.start()
            made = World(sidecar, issuer)
            made.ask(1)
            made.until(lambda: made.recorded() == 1)
            yield made
        finally:
            sidecar.close()
            issuer.close()
            model.down()


def test_what_a_full_buffer_drops_is_told_and_nothing_else_is_missing(world: World) -> None:
    os.kill(world.sidecar.agent_pid, signal.SIGSTOP)
    asked = 1
    try:
        # what the kernel and Envoy hold for an agent that does not read is a few megabytes
        for _ in range(40):
            world.ask(50, padding="a" * 2000)
            asked += 50
    finally:
        os.kill(world.sidecar.agent_pid, signal.SIGCONT)
    world.until(lambda: world.lost("access_log_full"))
    world.until(lambda: world.recorded() + world.lost("access_log_full") >= asked)
    # the agent's own probes may have found the buffer full, too
    assert world.recorded() + world.lost("access_log_full") <= asked + 2 * world.counted(
        "bartizan_probes_total"
    )
    assert {gap["reason"] for gap in world.gaps()} == {"access_log_full"}
    world.until(lambda: world.counted("bartizan_audit_lost_total") == world.lost("access_log_full"))


def test_what_finds_no_way_to_the_agent_is_told(world: World) -> None:
    als = world.sidecar.folder / "run" / "als.sock"
    away = als.rename(als.with_name("away.sock"))
    envoy = world.sidecar.status()["envoy"]["pid"]
    os.kill(envoy, signal.SIGKILL)
    world.sidecar.until(lambda now: enforced(now, 1) and now["envoy"]["pid"] not in {None, envoy})
    before = world.recorded()
    world.ask(7)
    world.until(lambda: world.lost("access_log_broken") >= 7)  # and the agent's own probes
    away.rename(als)

    def recorded_again() -> bool:
        world.ask(1)  # by a connection that Envoy makes when it comes to it
        return world.recorded() > before

    world.until(recorded_again)
    assert world.lost("envoy_ended") == 0, "all that the dead one had written was there"
    assert [gap["reason"] for gap in world.gaps()].count("envoy_ended") == 1, "and it may have written more"


def test_what_envoy_lets_in_last_is_recorded_before_it_ends(world: World) -> None:
    world.ask(5)
    world.sidecar.stop()
    assert world.recorded() == 6
    assert not world.gaps()


def test_what_envoy_lets_in_without_an_agent_leaves_a_gap_of_unknown_size(world: World) -> None:
    os.kill(world.sidecar.agent_pid, signal.SIGKILL)
    assert world.sidecar.process is not None
    world.sidecar.process.wait()
    world.ask(3)
    world.sidecar.spawn()
    world.sidecar.until(lambda now: enforced(now, 1))
    world.until(world.gaps)
    assert [(gap["reason"], gap["lost"]) for gap in world.gaps()] == [("agent_ended", 0)]
    assert json.loads(world.sidecar.fetch("/status"))["ready"]
