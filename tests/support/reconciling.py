"""A real reconciler over the small API server and a real store; faults are caused in what it calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bartizan import tasks
from bartizan.api import Applied
from bartizan.errors import DependencyUnavailable, NotFound
from bartizan.policy.signing import LocalSigner
from bartizan.policy.validate import Written
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Instance, Observation
from control_plane.fleet.status import policy_status
from control_plane.kubernetes.api_server import connect
from control_plane.kubernetes.cluster_policies import ClusterPolicies
from control_plane.kubernetes.reconcile import Reconciler
from control_plane.policies.actor import Actor
from control_plane.policies.service import Policies
from control_plane.push.publish import Publisher
from control_plane.store.sql.store import SqlStore, open_store
from tests.support.api_server_stand import ApiServerStand, api_server_stand, write_kubeconfig

SPEC: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "chat"}},
    "listener": {"tls": "none"},
    "model": {"name": "m", "protocol": "opaque"},
    "routes": [{"path": "/x"}],
    "tenants": ["acme"],
    "authn": {"apiKeys": {"set": "chat"}},
}


class Faulty(Policies):
    """Deleting fails as often as `fails` says, as when the store is away; who applies `held` waits for `free`."""

    fails = 0
    held = b""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.free, self.waits = asyncio.Event(), asyncio.Event()
        self.applied: list[bytes] = []

    async def apply(self, text: bytes | Written, actor: Actor, **more: Any) -> Applied:
        assert isinstance(text, bytes), "as the reconciler gives it"
        if self.held and self.held in text and not self.free.is_set():
            self.waits.set()
            await self.free.wait()
        made = await super().apply(text, actor, **more)
        self.applied.append(text)
        return made

    async def delete(self, name: str, actor: Actor) -> None:
        if self.fails:
            self.fails -= 1
            raise DependencyUnavailable("the store is away")
        await super().delete(name, actor)


class Signer:
    def __init__(self) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.local = LocalSigner(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
        self.away = False

    async def sign(self, payload: bytes) -> tuple[str, bytes]:
        if self.away:
            raise DependencyUnavailable("no signature to be had")
        return self.local.key_id, self.local.sign(payload)


def no_certificate(_key_set: Any) -> Any:
    raise DependencyUnavailable("no certificate")


@dataclass
class Running:
    cluster: ApiServerStand
    policies: Faulty
    ledger: Ledger
    signer: Signer
    store: SqlStore
    start: Callable[[], Any]
    stop: Callable[[], Any]
    leads: bool = True
    asked: int = 0
    """How often the reconciler wanted to know whether it leads."""

    def leading(self) -> bool:
        self.asked += 1
        return self.leads

    async def until(
        self, said: Callable[[dict[str, Any]], bool], name: str = "chat", namespace: str = "default"
    ) -> dict[str, Any]:
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(60):
                while True:
                    status = self.cluster.status(name, namespace)
                    if status and said(status):
                        return status
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the status stays {status}") from None

    async def summary(self, wanted: str, name: str = "chat", namespace: str = "default") -> dict[str, Any]:
        return await self.until(lambda status: status["summary"] == wanted, name, namespace)

    async def gone(self, name: str) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.policies.state(name)
                except NotFound:
                    return
                await asyncio.sleep(0.02)

    def enforce(self, instance: str, version: int) -> None:
        """As a heartbeat of a sidecar that enforces this version says it."""
        wanted = self.ledger.wanted("default/chat")
        assert wanted is not None
        self.ledger.admit(
            Instance(
                instance_id=instance,
                spiffe_id="spiffe://t/ns/default/sa/chat",
                namespace="default",
                labels={"app": "chat"},
            )
        )
        self.ledger.observe(
            instance,
            Observation(
                boot_id="b", sequence=version, ready=True, policy=wanted.policy, version=version,
                revision=wanted.revision, plan_hash=wanted.plan_hash, workers=1, workers_loaded=1,
                envoy_acked=True, probe_good=True, probe_at=1.0, sent_at=1.0,
            ),
        )  # fmt: skip


@asynccontextmanager
async def reconciling(tmp_path: Path, *, retry: float) -> AsyncIterator[Running]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    ledger, signer = Ledger(lease=600), Signer()
    publisher = Publisher(store, ledger, no_certificate)
    policies = Faulty(store, signer, publisher.policy_changed)
    async with api_server_stand() as cluster:
        kubeconfig = write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{cluster.port}")
        async with connect(str(kubeconfig)) as server, asyncio.TaskGroup() as group:
            work: list[asyncio.Task[None]] = []

            def start() -> None:
                made = Reconciler(
                    ClusterPolicies(server),
                    policies,
                    proven=lambda name: policy_status(ledger, name),
                    changed=ledger.changed,
                    leads=made_running.leading,
                    retry=retry,
                )
                work.append(tasks.start(group, made.run(), name="reconciler"))

            async def stop() -> None:
                await tasks.cancel(*work)
                work.clear()

            made_running = Running(cluster, policies, ledger, signer, store, start, stop)
            start()
            yield made_running
            await stop()
    await store.close()
