"""Tells the control plane every 5 seconds, and at once when anything changed, what this sidecar enforces and how proven.

A switch from one bundle to the next is one change.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable

import grpc

from bartizan import tasks
from bartizan.telemetry.logging import get_logger
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from sidecar.agent.apply import Applier
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.monitor import Monitor
from sidecar.agent.verify import SCHEMA_VERSIONS, Verifier
from sidecar.agent.workers import WorkerPool

EVERY = 5.0
GATHER = 0.005
TIMEOUT = 3.0
FAILURES = 2
"""So many reports in a row that fail are reason enough to ask at another replica."""

log = get_logger()


class Heartbeat:
    """`instance_id` and `channel` are asked for every report: both may change with the identity.

    unanswered: told when reports fail again and again. keep: writes what is in force now, if that is not yet done.
    """

    def __init__(
        self,
        *,
        instance_id: Callable[[], str],
        channel: Callable[[], grpc.aio.Channel | None],
        connected: Callable[[], bool],
        unanswered: Callable[[], None],
        keep: Callable[[], Awaitable[None]],
        applier: Applier,
        workers: WorkerPool,
        config: EnvoyConfig,
        monitor: Monitor,
        verifier: Verifier,
        conditions: Conditions,
        changes: Changes,
    ) -> None:
        self._instance_id = instance_id
        self._channel = channel
        self._connected = connected
        self._unanswered = unanswered
        self._keep = keep
        self._failures = 0
        self._applier = applier
        self._workers = workers
        self._config = config
        self._monitor = monitor
        self._verifier = verifier
        self._conditions = conditions
        self._changes = changes
        self._boot_id = secrets.token_hex(16)
        self._sequence = 0
        self._version = _version()

    async def run(self) -> None:
        """Until cancelled."""
        last = b""
        sent_at = 0.0
        while True:
            # a change while we send ends the pause below at once
            seen, told = self._changes.generation, self._applier.current
            report = self.report()
            content = report.SerializeToString(deterministic=True)
            if content != last or time.monotonic() - sent_at >= EVERY:
                # first kept, then told: what was reported must outlive this process
                await self._keep()
                last = content if await self._send(report) else b""
                sent_at = time.monotonic()
            pause = max(0.0, min(EVERY - (time.monotonic() - sent_at), EVERY if last else 1.0))
            with contextlib.suppress(TimeoutError):
                async with tasks.timeout(pause):
                    await self._change(seen)
            # several changes of one moment make one report, but a new proof is told at once: somebody waits for it
            if self._applier.current is told:
                await asyncio.sleep(GATHER)

    async def _change(self, seen: int) -> None:
        """One that is worth a report. On the way from one bundle to the next there is none: all that could be told is that
        Envoy has not answered yet.
        """
        await self._changes.until(lambda: self._changes.generation != seen and not self._applier.switching)

    async def _send(self, report: fleet_pb2.InstanceReport) -> bool:
        channel = self._channel()
        if channel is None:
            return False
        self._sequence += 1
        sent = fleet_pb2.InstanceReport()
        sent.CopyFrom(report)
        sent.sequence = self._sequence
        sent.sent_at.GetCurrentTime()
        try:
            await fleet_pb2_grpc.FleetStub(channel).Report(sent, timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            log.debug("heartbeat_failed", reason=error.code().name.lower())
            self._failures += 1
            if self._failures % FAILURES == 0:
                self._unanswered()
            return False
        self._failures = 0
        if self._connected():
            self._applier.confirm()
        return True

    def report(self) -> fleet_pb2.InstanceReport:
        """Everything but time and sequence, so that two reports can be compared."""
        self._monitor.look()
        report = fleet_pb2.InstanceReport(
            instance_id=self._instance_id(),
            boot_id=self._boot_id,
            agent_version=self._version,
            envoy_version=self._monitor.envoy_version,
            schema_versions=SCHEMA_VERSIONS,
            capabilities=sorted(self._verifier.capabilities),
            secret_versions=self._monitor.secrets,
            key_set_versions=self._workers.key_set_versions(),
            ready=self._conditions.ready,
            conditions=list(self._conditions),
        )
        state = report.policy
        state.workers = self._workers.count
        current, refused, probed = self._applier.current, self._applier.refused, self._applier.probed
        if current is not None:
            state.policy = current.bundle.policy
            state.version = current.bundle.version
            state.revision = current.bundle.revision
            state.plan_hash = current.plan_hash
            state.workers_loaded = self._workers.loaded(current.bundle.plan.id)
            state.envoy_acked = self._config.acked(current.snapshot)
        if probed is not None:
            state.probe.good = probed.good
            state.probe.reason = probed.reason
            state.probe.trace_id = probed.trace_id
            state.probe.at.FromMilliseconds(round(probed.at * 1000))
        if refused is not None:
            state.refused_version = refused.version
            state.refused_reason = refused.reason
            state.refused_path = refused.path
        return report


def _version() -> str:
    # the package brings along what reads mail
    import importlib.metadata

    try:
        return importlib.metadata.version("bartizan")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
