"""gRPC shell of the heartbeat (Fleet.Report) on the mTLS port: checks who reports, feeds the ledger, keeps the newest.

Reports are written to the store behind the answer and only when something but the time has changed, or when a
sidecar falls silent: other replicas then know what this one knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bartizan import tasks
from bartizan.errors import BartizanError, DependencyError, DependencyUnavailable, Forbidden, InvalidInput
from bartizan.telemetry.logging import get_logger
from bartizan.xds.server import peer_info
from control_plane.fleet.entry import Told
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Instance, Observation
from control_plane.store.base import InstanceRow, ReportRow, Store
from control_plane.store.clock import StoreClock
from protos.gen.bartizan.fleet.v1 import fleet_pb2, fleet_pb2_grpc

logger = get_logger()

_MAX_BYTES = 64 * 1024
_MAX_SEQUENCE = 2**63 - 1
_MAX_BOOT_ID = 64
_MAX_TEXT = 256
_MAX_LIST = 128
_RETRY_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_SHOWN_SECONDS = 15.0


def instance_of(row: InstanceRow) -> Instance:
    return Instance(
        instance_id=row.instance_id, spiffe_id=row.spiffe_id, namespace=row.namespace, labels=row.labels
    )


def checked(report: fleet_pb2.InstanceReport) -> Observation:
    """The report of somebody who may be anybody: what can't be stored, for us or other replicas, is not taken.

    Raises InvalidInput.
    """
    if report.ByteSize() > _MAX_BYTES:
        raise InvalidInput(f"a report has at most {_MAX_BYTES} bytes")
    if report.sequence > _MAX_SEQUENCE or "\0" in report.boot_id or len(report.boot_id) > _MAX_BOOT_ID:
        raise InvalidInput("sequence or boot id of the report can't be stored")
    try:
        return observation_of(report)
    except (ValueError, OverflowError):
        raise InvalidInput("a time of the report is none") from None


def observation_of(report: fleet_pb2.InstanceReport) -> Observation:
    """A report as the ledger takes it; texts and lists are cut to what is shown anyway."""
    policy = report.policy
    return Observation(
        boot_id=report.boot_id,
        sequence=report.sequence,
        sent_at=report.sent_at.ToNanoseconds() / 1e9,
        agent_version=report.agent_version[:_MAX_TEXT],
        envoy_version=report.envoy_version[:_MAX_TEXT],
        capabilities=frozenset(report.capabilities[:_MAX_LIST])
        | {f"schema.{number}" for number in report.schema_versions[:_MAX_LIST]},
        ready=report.ready,
        conditions=tuple(condition[:_MAX_TEXT] for condition in report.conditions[:_MAX_LIST]),
        policy=policy.policy[:_MAX_TEXT],
        version=policy.version,
        revision=policy.revision,
        plan_hash=policy.plan_hash[:_MAX_TEXT],
        workers_loaded=policy.workers_loaded,
        workers=policy.workers,
        envoy_acked=policy.envoy_acked,
        probe_good=policy.probe.good,
        probe_at=policy.probe.at.ToNanoseconds() / 1e9,
        probe_reason=policy.probe.reason[:_MAX_TEXT],
        trace_id=policy.probe.trace_id[:_MAX_TEXT],
        refused_version=policy.refused_version,
        refused_reason=policy.refused_reason[:2048],
        refused_path=policy.refused_path[:_MAX_TEXT],
        secret_versions=dict(sorted(report.secret_versions.items())[:_MAX_LIST]),
        key_set_versions=dict(sorted(report.key_set_versions.items())[:_MAX_LIST]),
    )


class FleetService(fleet_pb2_grpc.FleetServicer):
    """Call `load` once, register it on the mTLS port, keep `run` running.

    replica: our name among those that share the store. follows: whether we know what the others know; a sidecar that
    reports meanwhile is sent away to one that does. clock: the ledger's.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        *,
        replica: str = "",
        follows: Callable[[], bool] = lambda: True,
        clock: StoreClock | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._replica = replica
        self._follows = follows
        self._clock = clock or StoreClock()
        self._unsaved: dict[str, ReportRow] = {}
        self._here: frozenset[str] = frozenset()
        """Whom the store shows as live with us."""
        self._saved_at: dict[str, float] = {}
        self._wake = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        fleet_pb2_grpc.add_FleetServicer_to_server(self, server)

    async def load(self) -> None:
        """Known instances and what they said before this process started: to us, as stale; to others, as it is."""
        async with self._store.begin() as work:
            now = await work.now()
            self._clock.set(now)
            await work.instances.silence(self._replica, None, now=now)
            instances, reports = await work.instances.all(), await work.instances.reports()
        for row in instances:
            self._ledger.admit(instance_of(row), inherited=True)
        for told in _readable(reports):
            if told.replica in {"", self._replica}:
                self._ledger.restore(told.instance_id, told.seen, told.received_at)
        self.take(reports)

    def take(self, rows: Iterable[ReportRow]) -> None:
        """What sidecars told other replicas."""
        others = [row for row in rows if row.replica not in {"", self._replica}]
        self._ledger.adopt(_readable(others))

    async def Report(  # noqa: N802 - gRPC's name
        self, request: fleet_pb2.InstanceReport, context: Any
    ) -> fleet_pb2.ReportReply:
        try:
            if not self._follows():
                raise DependencyUnavailable("this replica does not follow the store at present")
            instance = await self._known(request.instance_id, peer_info(context).spiffe_id)
            seen = checked(request)
        except DependencyError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            raise
        except InvalidInput as error:
            logger.warning("report_invalid", instance_id=request.instance_id[:_MAX_TEXT])
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise
        except BartizanError as error:
            logger.warning("report_refused", instance_id=request.instance_id[:_MAX_TEXT])
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            raise
        before = self._ledger.generation
        newer = self._ledger.observe(instance.instance_id, seen)
        if newer and (self._ledger.generation != before or self._long_ago(instance.instance_id)):
            self._unsaved[instance.instance_id] = ReportRow(
                instance_id=instance.instance_id,
                boot_id=seen.boot_id,
                sequence=seen.sequence,
                received_at=self._clock(),
                report=request.SerializeToString(deterministic=True),
                replica=self._replica,
                live=True,
            )
            self._wake.set()
        reply = fleet_pb2.ReportReply(lease_seconds=round(self._ledger.lease))
        reply.received_at.GetCurrentTime()
        return reply

    async def run(self) -> None:
        """Write reports behind; at most one unsaved per instance waits. Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with tasks.timeout(_LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            rows, self._unsaved = self._unsaved, {}
            here = self._ledger.reporting_here()
            silent = self._here - here
            if not rows and not silent:
                continue
            try:
                async with self._store.begin() as work:
                    now = await work.now()
                    self._clock.set(now)
                    await work.instances.put_reports(list(rows.values()), now=now)
                    if silent:
                        await work.instances.silence(self._replica, silent, now=now)
                self._here = here
                self._saved_at = {name: at for name, at in self._saved_at.items() if name in here}
            except BartizanError as error:
                logger.warning("reports_not_saved", reason=type(error).__name__, count=len(rows))
                self._unsaved = {**rows, **self._unsaved}
                self._wake.set()
                await asyncio.sleep(_RETRY_SECONDS)

    def _long_ago(self, instance_id: str) -> bool:
        """Nothing has changed, but other replicas show when it was seen."""
        if not self._store.shared:
            return False
        now = time.monotonic()
        due = now - self._saved_at.get(instance_id, 0.0) >= _SHOWN_SECONDS
        if due:
            self._saved_at[instance_id] = now
        return due

    async def _known(self, instance_id: str, spiffe_id: str | None) -> Instance:
        instance = self._ledger.instance(instance_id)
        if instance is None:  # attested at another replica, or a moment ago
            async with self._store.begin() as work:
                row = await work.instances.get(instance_id)
            if row is None or row.removed_at is not None:
                raise Forbidden("no such instance of this identity")
            instance = instance_of(row)
        if spiffe_id is None or instance.spiffe_id != spiffe_id:
            raise Forbidden("no such instance of this identity")
        self._ledger.admit(instance)
        return instance


def _readable(rows: Iterable[ReportRow]) -> Iterator[Told]:
    for row in rows:
        try:
            message = fleet_pb2.InstanceReport.FromString(row.report)
        except DecodeError:
            continue
        yield Told(
            instance_id=row.instance_id,
            seen=observation_of(message),
            received_at=row.received_at,
            replica=row.replica,
            live=row.live,
        )
