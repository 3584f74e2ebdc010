"""The guard worker process: answers Envoy on its unix socket, takes plans and keys from its agent, and ends with it.

Composition root: `python -m sidecar.worker`, started by the agent with two inherited socket pairs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field

import uvloop

from bartizan import tasks
from bartizan.errors import BartizanError, InvalidInput, ProtocolViolation, RolledBack
from bartizan.tasks import cancel, start
from bartizan.telemetry.lean_prometheus import REGISTRY
from bartizan.telemetry.logging import configure, get_logger
from sidecar.agent.channel import Channel
from sidecar.agent.messages import (
    AgentMessage,
    Configure,
    Drop,
    KeysSet,
    Listen,
    Listening,
    Load,
    Loaded,
    Ping,
    Pong,
    SetJwks,
    SetKeys,
    SetPseudonymKeys,
    WorkerMessage,
)
from sidecar.allocator import give_back
from sidecar.audit.queue import AuditQueue
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.query_history import QueryHistory
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire import ext_authz, ext_proc
from sidecar.wire.engine import Engine, Services
from sidecar.wire.span_queue import SpanQueue
from sidecar.wire.trace import Spans
from sidecar.worker_settings import WorkerSettings

log = get_logger()
_DRAIN = 1.0
_OURS = (
    "bartizan_decisions",
    "bartizan_phase",
    "bartizan_findings",
    "bartizan_audit_lost",
    "bartizan_check_child",
)


def flat_metrics() -> dict[str, float]:
    """The worker's metrics by sample name with labels, for the agent's /metrics."""
    flat: dict[str, float] = {}
    for family in REGISTRY.collect():
        if family.name.startswith(_OURS):
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
                    flat[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return flat


@dataclass(slots=True)
class Worker:
    """The state of one worker process."""

    channel: Channel[WorkerMessage, AgentMessage]
    audit_channel: Channel[WorkerMessage, AgentMessage]
    engine: Engine
    settings: WorkerSettings
    current: Current = field(default_factory=Current)
    history: QueryHistory = field(default_factory=lambda: QueryHistory(clock=time.monotonic))
    pseudonym_keys: dict[str, bytes] = field(default_factory=dict, repr=False)
    buckets: Buckets = field(default_factory=lambda: Buckets(clock=time.monotonic))
    spans: Spans = field(default_factory=Spans)
    services: Services = field(default_factory=lambda: Services(unary={}, stream={}))
    finished: SpanQueue = field(init=False)

    def __post_init__(self) -> None:
        self.finished = SpanQueue(self.audit_channel.send)

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until the agent closes the channel or the process is told to stop."""
        records = AuditQueue(
            send=self.audit_channel.send,
            clock=time.time,
            instance_id=lambda: self.current.snapshot.instance_id,
        )
        check = ext_authz.ExtAuthz(current=self.current, audit=records.put, spans=self.spans)
        process = ext_proc.ExtProc(current=self.current, audit=records.put, spans=self.spans)
        self.services = Services(unary={ext_authz.METHOD: check}, stream={ext_proc.METHOD: process})
        async with tasks.Group() as group:
            sending = {
                start(group, records.run(), name="audit"),
                start(group, self.finished.run(), name="spans"),
            }
            serving = start(group, self.serve_agent(), name="channel")
            stopped = start(group, stopping.wait(), name="stop-signal")
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await self.engine.stop(_DRAIN)
            records.close()
            self.finished.close()
            await asyncio.wait(sending, timeout=_DRAIN)
            await cancel(*sending, serving, stopped)

    async def serve_agent(self) -> None:
        """Answer the agent's messages until it closes the channel."""
        while (message := await self.channel.receive()) is not None:
            await self._handle(message)

    async def _handle(self, message: AgentMessage) -> None:
        match message:
            case Configure():
                self._configure(message)
            case Load(plan=plan):
                try:
                    # off the loop: rule sets may take long to build, and requests go on meanwhile
                    built = await asyncio.to_thread(
                        load_plan, plan, self.buckets, self.pseudonym_keys, self.history
                    )
                except BartizanError as error:
                    log.warning("plan_refused", plan=plan.id, reason=str(error))
                    await self.channel.send(Loaded(plan_id=plan.id, error=str(error)))
                except Exception as error:
                    # a worker that died of it would be started again with the same plan, and so for ever
                    kind = type(error).__name__
                    log.error("plan_failed", plan=plan.id, error=kind)
                    await self.channel.send(Loaded(plan_id=plan.id, error=f"the plan can't be built: {kind}"))
                else:
                    self.current.put_plan(built)
                    await self.channel.send(Loaded(plan_id=plan.id, hash=built.hash))
                # what compiling rules and unpacking weights took beside them; the agent need not wait for that
                await asyncio.to_thread(give_back)
            case Drop(plan_id=plan_id):
                self.current.drop_plan(plan_id)
            case SetKeys(key_set=key_set):
                try:
                    self.current.set_keys(key_set)
                except RolledBack:
                    log.warning("key_set_rolled_back", key_set=key_set.name, version=key_set.version)
                    return
                await self.channel.send(KeysSet(name=key_set.name, version=key_set.version))
            case SetJwks(issuer=issuer, jwks=jwks):
                try:
                    self.current.set_jwks(issuer, jwks)
                except InvalidInput as error:
                    log.warning("jwks_refused", issuer=issuer, reason=str(error))
            case SetPseudonymKeys(keys=keys):
                # In the mapping that plans look into. Exchanges took theirs when they began.
                self.pseudonym_keys.clear()
                self.pseudonym_keys.update(keys)
            case Listen():
                await self.engine.start(self.settings.guard_socket, self.services)
                log.info("worker_ready")
                await self.channel.send(Listening())
            case Ping(sequence=sequence):
                await self.channel.send(Pong(sequence=sequence, metrics=flat_metrics()))

    def _configure(self, message: Configure) -> None:
        self.current.configure(instance_id=message.instance_id, probe_key=message.probe_key)
        self.history.share = self.buckets.share = 1.0 / max(1, message.workers)
        self.spans.export = self.finished.put if message.traces else None


async def serve(settings: WorkerSettings) -> None:
    """Run one worker over its inherited descriptors."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    worker = Worker(
        channel=Channel.worker_side(socket.socket(fileno=settings.channel_fd)),
        audit_channel=Channel.worker_side(socket.socket(fileno=settings.audit_fd)),
        engine=_engine(settings.wire),
        settings=settings,
    )
    try:
        await worker.run(stopping)
    finally:
        worker.channel.close()
        worker.audit_channel.close()


def _engine(wire: str) -> Engine:
    """Imported where it is chosen: grpcio alone is a tenth of a worker's memory."""
    if wire == "grpcio":
        from sidecar.wire.engine_grpcio import GrpcioEngine

        return GrpcioEngine()
    from sidecar.wire.engine_http2 import Http2Engine

    if wire == "ngh2":
        from sidecar.wire.http2_session_ngh2 import Ngh2Session

        return Http2Engine(Ngh2Session)
    from sidecar.wire.http2_session import Http2Session

    return Http2Engine(Http2Session)


def main() -> None:
    """Entry point of `python -m sidecar.worker`."""
    settings = WorkerSettings.read(os.environ)
    configure("guard-worker", settings.log_level)
    status = 0
    try:
        # uvloop below our own engine alone: grpcio brings its own polling
        loops = asyncio.new_event_loop if settings.wire == "grpcio" else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=loops) as runner:
            runner.run(serve(settings))
    except* (ConnectionError, ProtocolViolation) as gone:
        log.error("agent_gone", error=type(gone.exceptions[0]).__name__)
        status = 1  # not raised here: up to Python 3.11.3 it would come out in a group
    sys.exit(status)


if __name__ == "__main__":
    main()
