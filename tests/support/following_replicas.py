"""Control planes without their edges over one store: what one writes the others are told, or find."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan.policy.signing import LocalSigner
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.service import FleetService
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.push.publish import Publisher
from control_plane.push.replicas import Following, Replicas
from control_plane.store.base import InstanceRow, ReportRow
from control_plane.store.clock import StoreClock
from control_plane.store.sql.store import SqlStore
from protos.gen.bartizan.fleet.v1 import fleet_pb2
from tests.support.push_stand import CHAT, unsigned

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {{name: {name}, namespace: prod}}
spec:
  selector: {{matchLabels: {{app: {app}}}}}
  listener: {{port: 8443, tls: none}}
  model: {{name: m, protocol: opaque, port: 8000}}
  routes: [{{path: /x}}]
  tenants: [acme]
  authn: {{apiKeys: {{set: chat-set}}}}
"""
PEM = ed25519.Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


class Signer:
    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        local = LocalSigner(PEM)
        return local.key_id, local.sign(payload)


class Replica:
    """A control plane without its edges; `caught_up` counts how often it looked at the rotations."""

    def __init__(self, name: str, store: SqlStore, clock: StoreClock | None = None) -> None:
        self.store = store
        self.caught_up = 0
        self.following = Following(alone=False)
        clock = clock or StoreClock()
        self.ledger = Ledger(shared=store.shared, clock=clock)
        self.publisher = Publisher(store, self.ledger, unsigned, follows=self.following)
        self.fleet = FleetService(self.ledger, store, replica=name, follows=self.following, clock=clock)
        self.policies = Policies(store, Signer(), self.publisher.policy_changed)
        self.keys = Keys(store, self.publisher.key_set_changed)
        self.replicas = Replicas(
            store,
            name=name,
            following=self.following,
            ledger=self.ledger,
            fleet=self.fleet,
            publisher=self.publisher,
            catch_up=self._catch_up,
        )

    async def _catch_up(self) -> None:
        self.caught_up += 1

    async def report(self, sequence: int, *, version: int = 1, replica: str, live: bool = True) -> None:
        """As FleetService writes what sidecar i1 told."""
        report = fleet_pb2.InstanceReport(instance_id="i1", boot_id="b", sequence=sequence)
        report.policy.policy, report.policy.version = "prod/chat", version
        row = ReportRow(
            instance_id="i1",
            boot_id="b",
            sequence=sequence,
            received_at=time.time(),
            report=report.SerializeToString(),
            replica=replica,
            live=live,
        )
        async with self.store.begin() as work:
            await work.instances.put_reports([row], now=await work.now())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Replica]:
        await self.fleet.load()
        await self.replicas.look()
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(each.run()) for each in (self.replicas, self.fleet)]
            try:
                yield self
            finally:
                for helper in helpers:
                    helper.cancel()


def instance(name: str) -> InstanceRow:
    return InstanceRow(
        instance_id=name, spiffe_id=CHAT, namespace="prod", labels={"app": "chat"}, created_at=1.0
    )
