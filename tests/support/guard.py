"""A real guard worker process for tests: started as the agent starts it, spoken to over its channel and socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bartizan.local.processes import Child
from bartizan.policy import names
from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash
from bartizan.policy.schema import Route
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from sidecar.agent.bootstrap import guard_socket
from sidecar.agent.channel import Channel
from sidecar.agent.messages import (
    AgentMessage,
    AuditBatch,
    Configure,
    KeysSet,
    Listen,
    Listening,
    Load,
    Loaded,
    Ping,
    Pong,
    SetKeys,
    SpanBatch,
    WorkerMessage,
)
from sidecar.audit.record import AuditRecord, Gap, Record
from sidecar.worker_settings import DEFAULT_WIRE

CHECK = "/envoy.service.auth.v3.Authorization/Check"
PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
PROBE_KEY = bytes(range(32))
KEY = "bzk_" + "a" * 43
OTHER_KEY = "bzk_" + "b" * 43
REVOKED_KEY = "bzk_" + "c" * 43
EXPIRED_KEY = "bzk_" + "d" * 43
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def key_set(version: int = 1) -> KeySet:
    """Keys of tenants acme (listed in `guard_plan`) and evil (not listed), one revoked, one expired."""
    return KeySet(
        name="keys",
        version=version,
        keys=(
            KeyRecord(id="k1", hash=key_hash(KEY), tenant="acme", plan="gold", region="eu"),
            KeyRecord(id="k2", hash=key_hash(OTHER_KEY), tenant="evil"),
            KeyRecord(id="k3", hash=key_hash(REVOKED_KEY), tenant="acme", revoked=True),
            KeyRecord(id="k4", hash=key_hash(EXPIRED_KEY), tenant="acme", expires_at=1.0),
        ),
    )


def guard_plan(**changes: Any) -> GuardPlan:
    """A plan of protocol json_fields that lets tenant acme in by API key."""
    plan = GuardPlan(
        id="1.1",
        policy="default/test",
        revision=1,
        model=GuardModel(name="m", protocol="json_fields"),
        tenants=("acme",),
        api_key_set="keys",
        routes=(Route(path="/predict", input_text=("$.text",), output_text=("$.echo",)),),
    )
    return msgspec.structs.replace(plan, **changes)


def check_request(
    headers: dict[str, str] | None = None,
    *,
    revision: str = "1.1",
    content: bool = False,
    method: str = "POST",
    path: str = "/predict",
    stream_id: str = "1",
    trace_steps: int = 0,
) -> bytes:
    """What Envoy sends to ext_authz."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.id, http.method, http.path = stream_id, method, path
    for name, value in (headers or {}).items():
        http.headers[name] = value
    request.attributes.source.address.socket_address.address = "203.0.113.77"
    request.attributes.context_extensions[names.REVISION] = revision
    if content:
        request.attributes.context_extensions[names.CONTENT] = "1"
    if trace_steps:
        request.attributes.context_extensions[names.TRACE] = str(trace_steps)
    return request.SerializeToString()


@dataclass
class GuardWorker:
    """One running worker."""

    child: Child
    channel: Channel[AgentMessage, WorkerMessage]
    audit: Channel[AgentMessage, WorkerMessage]
    socket: Path
    wire: grpc.aio.Channel
    records: list[Record] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    async def ask(self, message: AgentMessage) -> WorkerMessage:
        """Send and wait for the answer."""
        await self.channel.send(message)
        async with asyncio.timeout(60):
            answer = await self.channel.receive()
        assert answer is not None
        return answer

    async def load(self, plan: GuardPlan) -> Loaded:
        answer = await self.ask(Load(plan=plan))
        assert isinstance(answer, Loaded)
        return answer

    async def set_keys(self, keys: KeySet) -> None:
        assert isinstance(await self.ask(SetKeys(key_set=keys)), KeysSet)

    async def metrics(self) -> dict[str, float]:
        answer = await self.ask(Ping(sequence=1))
        assert isinstance(answer, Pong)
        return answer.metrics

    async def check_raw(self, message: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> CheckResponse:
        call: Any = self.wire.unary_unary(
            CHECK
        )  # bytes in, bytes out: no serializers, which the stubs ask for
        reply: bytes = await call(message, timeout=60, metadata=metadata)
        return CheckResponse.FromString(reply)

    async def check(self, headers: dict[str, str] | None = None, **options: Any) -> CheckResponse:
        return await self.check_raw(check_request(headers, **options), (("traceparent", TRACE),))

    async def next_record(self) -> Record:
        """The next decision record; gaps go to `gaps`."""
        while not self.records:
            await self._hear()
        return self.records.pop(0)

    async def next_spans(self, count: int) -> dict[str, Span]:
        """The next spans by name; records that come before them stay for later."""
        while len(self.spans) < count:
            await self._hear()
        taken, self.spans[:] = self.spans[:count], self.spans[count:]
        return {span.name: span for span in taken}

    async def _hear(self) -> None:
        async with asyncio.timeout(60):
            message = await self.audit.receive()
        match message:
            case AuditBatch(records=records):
                for encoded in records:
                    match msgspec.json.decode(encoded, type=AuditRecord):
                        case Record() as record:
                            self.records.append(record)
                        case Gap() as gap:
                            self.gaps.append(gap)
            case SpanBatch(request=request):
                for resource in ExportTraceServiceRequest.FromString(request).resource_spans:
                    for scope in resource.scope_spans:
                        self.spans += scope.spans
            case _:
                raise AssertionError(message)

    async def record(self, decision: str) -> Record:
        """The record of this decision; those of others stay for later."""
        passed: list[Record] = []
        while (found := await self.next_record()).id != decision:
            passed.append(found)
        self.records[:0] = passed
        return found


@contextlib.asynccontextmanager
async def guard_worker(
    *, traces: bool = False, run_dir: Path | None = None, wire: str = "", number: int = 0
) -> AsyncIterator[GuardWorker]:
    """Start a worker, the one of this number in its folder, configured and with keys; end it by closing its channel."""
    with contextlib.ExitStack() as stack:
        folder = run_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bzg")))
        mine, theirs = socket.socketpair()
        my_audit, their_audit = socket.socketpair()
        log = folder / f"guard-{number}.log"
        path = folder / guard_socket(number)
        with theirs, their_audit, log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sidecar.worker",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(), their_audit.fileno()),
                env={
                    "BARTIZAN_CHANNEL_FD": str(theirs.fileno()),
                    "BARTIZAN_AUDIT_FD": str(their_audit.fileno()),
                    "BARTIZAN_GUARD_SOCKET": str(path),
                    "BARTIZAN_WIRE": wire or os.environ.get("BARTIZAN_WIRE", DEFAULT_WIRE),
                },
            )
        child = Child(name="guard-worker", process=process, log=log)
        channel, audit = Channel.agent_side(mine), Channel.agent_side(my_audit)
        connection = grpc.aio.insecure_channel(f"unix:{path}")
        worker = GuardWorker(child=child, channel=channel, audit=audit, socket=path, wire=connection)
        try:
            await channel.send(
                Configure(
                    instance_id="i1", worker=number, workers=number + 1, probe_key=PROBE_KEY, traces=traces
                )
            )
            await worker.set_keys(key_set())
            assert isinstance(await worker.ask(Listen()), Listening)
            yield worker
        except BaseException:
            sys.stderr.write(child.tail(40))
            raise
        finally:
            await connection.close()
            channel.close()
            audit.close()
            try:
                async with asyncio.timeout(60):
                    await process.wait()
            except TimeoutError:
                await child.stop(1)
