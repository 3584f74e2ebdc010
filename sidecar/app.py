"""The agent's composition root: everything that runs in the pod's supervisor, wired once, ended in order.

Two ways to a policy, same line afterwards: files (local mode) or a control plane (sidecar/agent/link.py).
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bartizan.tasks import Group, start
from bartizan.telemetry.logging import get_logger
from sidecar.agent import bootstrap as paths
from sidecar.agent import conditions as names
from sidecar.agent.admin import EnvoyAdmin
from sidecar.agent.app_probes import AppProbes
from sidecar.agent.apply import Applier
from sidecar.agent.around import AroundWatch
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.envoy import EnvoyProcess
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.folders import locked, make_private
from sidecar.agent.health import Health
from sidecar.agent.heartbeat import Heartbeat
from sidecar.agent.identity import Identity
from sidecar.agent.jwks import JwksKeeper
from sidecar.agent.kept import Kept
from sidecar.agent.keys import KeySets
from sidecar.agent.lastgood import LastGood
from sidecar.agent.link import Link
from sidecar.agent.missing import MissingEntries
from sidecar.agent.monitor import Monitor
from sidecar.agent.otlp import SpanForwarder
from sidecar.agent.probe import Prober
from sidecar.agent.sealed import Seal
from sidecar.agent.sockets import serve
from sidecar.agent.static import StaticSource
from sidecar.agent.subscribe import Subscription
from sidecar.agent.verify import Verifier
from sidecar.agent.versions import SeenVersions
from sidecar.agent.workers import WorkerPool
from sidecar.audit.access_log import AccessLogService, InForce, in_force
from sidecar.audit.shipping import Shipping
from sidecar.audit.sinks.control_plane import ControlPlaneSink
from sidecar.audit.sinks.file import FileSink
from sidecar.audit.spool import Spool
from sidecar.checks.installed import capabilities
from sidecar.settings import Settings

log = get_logger()


class _Ended(Exception):
    """No error: raised inside the task group it ends all tasks in it."""


class Agent:
    """All parts of one agent. Made by `run`."""

    def __init__(self, settings: Settings, group: asyncio.TaskGroup, stack: AsyncExitStack) -> None:
        self.settings = settings
        self._group = group
        self._stack = stack
        self.instance_id = f"local-{secrets.token_hex(8)}"
        run_dir, state = settings.run_dir, settings.state_dir
        self.changes = Changes()
        self.conditions = Conditions(self.changes)
        self.seal = Seal.from_file(settings.seal_key_file) if settings.seal_key_file else None
        self.identity = Identity(settings, self.seal, self.conditions)
        self.link = Link(self.identity, self.conditions, self._identified)
        local, probe_key = settings.bundle_file is not None, secrets.token_bytes(32)
        self.shipping = Shipping(
            FileSink(state / "audit.jsonl")
            if local
            else ControlPlaneSink(self.link.channel, lambda: self.instance_id),
            instance_id=lambda: self.instance_id,
            on_loss=lambda losing: self.conditions.set(names.AUDIT_LOSING, holds=losing),
            spool=None if local else Spool(state / "audit.spool"),
        )
        self.spans = SpanForwarder(settings.otlp_endpoint)
        self.prober = Prober(probe_key)
        self.workers = WorkerPool(
            count=settings.workers,
            run_dir=run_dir,
            probe_key=probe_key,
            environment={
                **settings.child_environment,
                "BARTIZAN_LOG_LEVEL": settings.log_level,
                "BARTIZAN_WIRE": settings.wire,
                "PYTHONUNBUFFERED": "1",
            },
            changes=self.changes,
            on_audit=self.shipping.put,
            on_lost=lambda: self.shipping.lose(0, "worker_ended"),
            on_spans=self.spans.taker,
        )
        self.seen = SeenVersions(state / "versions.json", self.conditions)
        self.verifier = Verifier(self.seen, capabilities())
        if self.identity.trust is not None:
            self.verifier.trust(self.identity.trust)
        self.config = EnvoyConfig(self.changes, workers=settings.workers)
        self.key_sets = KeySets(self.verifier, self.seen, self.workers, self.changes)
        self.last_good = LastGood(state / "last-good.sealed", self.seal, self.conditions)
        self.applier = Applier(
            verifier=self.verifier,
            seen=self.seen,
            workers=self.workers,
            envoy=self.config,
            key_sets=self.key_sets,
            prober=self.prober,
            cert_dir=settings.cert_dir,
            conditions=self.conditions,
            changes=self.changes,
            group=group,
            drain_seconds=settings.drain_seconds,
            jwks=JwksKeeper(settings.jwks_allow, settings.jwks_refresh, self._set_jwks, self.changes, group),
            on_enforced=self._keep,
        )
        self.kept = Kept(
            last_good=self.last_good,
            seen=self.seen,
            applier=self.applier,
            key_sets=self.key_sets,
            config=self.config,
            conditions=self.conditions,
        )
        self.admin = EnvoyAdmin(run_dir / paths.ADMIN_SOCKET)
        self.missing = MissingEntries(self.admin, self.shipping.lose)
        self.envoy = EnvoyProcess(
            binary=settings.envoy,
            bootstrap=paths.bootstrap_json(
                paths.bootstrap("sidecar", run_dir, settings.workers, egress_names=settings.egress_names)
            ),
            run_dir=run_dir,
            environment=settings.child_environment,
            drain_seconds=settings.drain_seconds,
            log_level=settings.log_level,
            admin=self.admin,
            on_new=self._new_envoy,
            on_orphan=self.missing.orphan,
        )
        self.monitor = Monitor(
            applier=self.applier,
            workers=self.workers,
            envoy=self.envoy,
            admin=self.admin,
            config=self.config,
            key_sets=self.key_sets,
            conditions=self.conditions,
            changes=self.changes,
        )
        self.around = AroundWatch(settings, self.applier, self.conditions)
        self.health = Health(
            conditions=self.conditions,
            applier=self.applier,
            workers=self.workers,
            monitor=self.monitor,
            facts=self._facts,
            app_probes=AppProbes(settings.app_probes),
        )

    async def _keep(self) -> None:
        await self.kept.save()

    def _identified(self) -> None:
        """A first, renewed or restored identity: records and spans carry its instance id."""
        self.instance_id = self.identity.instance_id
        self.workers.set_instance(self.instance_id)
        if self.identity.trust is not None:
            self.verifier.trust(self.identity.trust)
        self.changes.notify()

    def _new_envoy(self) -> None:
        self.config.forget_answers()
        self.missing.renew()

    def _facts(self) -> dict[str, Any]:
        envoy = {"pid": self.envoy.pid, "version": self.monitor.envoy_version}
        return {"instance_id": self.instance_id, "envoy": envoy, "around": self.around.shown}

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Part of the process's group: its failure ends the process."""
        start(self._group, work, name=name)

    async def start(self) -> None:
        """Sockets first, then children, then the loops."""
        run_dir = self.settings.run_dir
        await self.shipping.restore()
        await self._stack.enter_async_context(self.admin)
        self._stack.push_async_callback((await self.config.serve(run_dir / paths.XDS_SOCKET)).stop, 0.2)
        access_log = AccessLogService(
            self.shipping.put,
            self.spans.taker,
            self._native_context,
            self.prober.path,
            lambda: self.missing.ledger,
        )
        for service, socket in ((access_log, paths.ALS_SOCKET), (self.spans, paths.OTLP_SOCKET)):
            self._stack.push_async_callback((await serve(service, run_dir / socket)).stop, 0.2)
        runner = await self.health.start(self.settings.health_host, self.settings.health_port)
        self._stack.push_async_callback(runner.cleanup)
        self.workers.start(self._group)
        self.spawn(self.envoy.run(), "envoy")
        self.spawn(self.monitor.watch(), "monitor")
        self.spawn(self.monitor.probe(), "probe")
        self.spawn(self.around.run(), "around")
        self.spawn(self.missing.run(), "missing-entries")
        self.spawn(self.shipping.run(), "audit")
        self.spawn(self.spans.run(), "spans")
        self.spawn(self.last_good.run(self.kept.save), "last-good")

    def _set_jwks(self, issuer: str, jwks: dict[str, Any]) -> None:
        """An issuer's keys, to all who verify tokens."""
        self.workers.set_jwks(issuer, jwks)
        self.config.set_jwks(issuer, jwks)

    def _native_context(self) -> InForce:
        current = self.applier.current
        return in_force(current.bundle.plan if current is not None else None, self.instance_id)

    def follow_files(self, bundle: Path) -> None:
        """Local mode."""
        source = StaticSource(bundle, self.settings.keyset_file, self.applier, self.key_sets)
        self.workers.set_instance(self.instance_id)
        self.spawn(source.run(), "static-source")

    async def follow_control_plane(self) -> None:
        """First what the last process left sealed, so that traffic flows at once; then whoever is there."""
        kept = self.identity.read_kept()
        if kept:
            self._identified()
        elif self.identity.trust is not None:
            self.verifier.trust(self.identity.trust)
        subscription = Subscription(
            applier=self.applier,
            key_sets=self.key_sets,
            config=self.config,
            conditions=self.conditions,
            kept=self.kept,
            on_refused=self.link.refused,
        )
        heartbeat = Heartbeat(
            instance_id=lambda: self.instance_id,
            channel=self.link.channel,
            connected=lambda: subscription.connected,
            unanswered=self.link.unanswered,
            keep=self.kept.save,
            applier=self.applier,
            workers=self.workers,
            config=self.config,
            monitor=self.monitor,
            verifier=self.verifier,
            conditions=self.conditions,
            changes=self.changes,
        )
        await self.kept.restore()
        self.spawn(self.link.run(subscription, heartbeat, kept=kept), "link")

    async def stop(self) -> None:
        """Envoy first, so that running requests still find their guard; then the last records."""
        log.info("agent_draining")
        await self.envoy.stop(self.missing.settle)
        await self.workers.stop(3.0)
        await asyncio.gather(self.shipping.close(2.0), self.spans.close(2.0))


async def run(settings: Settings) -> None:
    """One agent, until SIGTERM or SIGINT. Raises when a part of it fails for good."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    make_private("BARTIZAN_RUN_DIR", settings.run_dir)
    make_private("BARTIZAN_STATE_DIR", settings.state_dir)
    try:
        # held before anything in there is touched, an Envoy that a predecessor left among it
        with locked(settings.run_dir):
            await _run(settings, stopping)
    except* _Ended:
        log.info("agent_ended")


async def _run(settings: Settings, stopping: asyncio.Event) -> None:
    async with AsyncExitStack() as stack, Group() as group:
        agent = Agent(settings, group, stack)
        await agent.start()
        if settings.bundle_file is not None:
            agent.follow_files(settings.bundle_file)
        else:
            agent.spawn(agent.follow_control_plane(), "control-plane")
        log.info("agent_started", mode="local" if settings.bundle_file else "control_plane")
        await stopping.wait()
        await agent.stop()
        raise _Ended
