"""Real Envoy before the guard's own handlers, which run in the test: every message of ext_proc is kept.

A test may put another handler in their place (`guard.instead`), to show what Envoy does with a guard that does not keep
our rules, or change Envoy's configuration (`alter`), to show what the compiled one avoids.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bartizan.local.binaries import find_binary
from bartizan.local.processes import Child, free_port, start
from bartizan.policy.bundle import Bundle
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from sidecar.agent.bootstrap import envoy_command, guard_socket
from sidecar.audit.record import Record
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire import ext_authz, ext_proc
from sidecar.wire.engine import Call, CallFailed, Engine, Services, StreamHandler, UnaryHandler, answered
from sidecar.wire.engine_grpcio import GrpcioEngine
from sidecar.wire.engine_http2 import Http2Engine
from sidecar.wire.http2_session import Http2Session
from sidecar.wire.http2_session_ngh2 import Ngh2Session
from sidecar.wire.trace import Spans
from sidecar.worker_settings import DEFAULT_WIRE
from tests.support.gateway import patient
from tests.support.raw_client import Reply, exchange, parse
from tests.support.raw_model import RawModel
from tests.support.records import into

StaticConfig = Callable[[Bundle, Path], dict[str, Any]]
ENGINES: dict[str, Callable[[], Engine]] = {
    "builtin": lambda: Http2Engine(Http2Session),
    "ngh2": lambda: Http2Engine(Ngh2Session),
    "grpcio": GrpcioEngine,
}
KEY = new_key()
PATH = "/v1/chat/completions"
PIECE = 64 * 1024
"""The most that Envoy's documents recommend for one streamed reply."""


def chat(text: str = "hi", **more: object) -> bytes:
    """The body of a chat request."""
    return json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}], **more}).encode()


def head(*headers: str, method: str = "POST", path: str = PATH, key: str = KEY) -> bytes:
    """A request's head, without anything about its body."""
    lines = [f"{method} {path} HTTP/1.1", "host: a", "connection: close", "content-type: application/json"]
    credential = [f"x-api-key: {key}"] if key else []
    return "\r\n".join([*lines, *credential, *headers, "", ""]).encode()


def with_length(body: bytes, *headers: str, **options: str) -> bytes:
    return head(f"content-length: {len(body)}", *headers, **options) + body


def in_chunks(body: bytes, size: int = 16_384, **options: str) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head("transfer-encoding: chunked", **options) + chunks + b"0\r\n\r\n"


@dataclass
class Exchange:
    """One ext_proc stream. `ended`: "" while it runs, "ok", "failed" (another status) or "cancelled" (by Envoy)."""

    messages: list[ProcessingRequest] = field(default_factory=list)
    replies: list[ProcessingResponse] = field(default_factory=list)
    ended: str = ""

    def kinds(self) -> list[str]:
        return [str(message.WhichOneof("request")) for message in self.messages]

    def said(self) -> list[str]:
        return [str(reply.WhichOneof("response")) for reply in self.replies]

    def check_is_lawful(self) -> None:
        """What Envoy would answer with a spurious message, a hang, a broken answer, or by passing the rest."""
        kinds, said = self.kinds(), self.said()
        for kind in ("request_headers", "request_body", "request_trailers", "response_headers"):
            assert said.count(kind) <= kinds.count(kind), (kinds, said)
        assert said.count("immediate_response") <= 1
        if "immediate_response" in said:
            assert said[-1] == "immediate_response", said
            assert "response_headers" not in said, "what is out can't be taken back"
        bodies = [reply.response_body for reply in self.replies if reply.HasField("response_body")]
        if bodies:
            assert said.index("response_headers") < said.index("response_body")
        streamed = [body.response.body_mutation.streamed_response for body in bodies]
        for body, piece in zip(bodies, streamed, strict=True):
            assert body.response.body_mutation.WhichOneof("mutation") == "streamed_response"
            assert len(piece.body) <= PIECE
        assert not any(piece.end_of_stream for piece in streamed[:-1]), "one end, at the end"
        for reply in self.replies:
            changed = reply.request_body.response
            if changed.body_mutation.body:
                names = {item.header.key for item in changed.header_mutation.set_headers}
                assert "content-length" in names, "else Envoy answers 500"


@dataclass
class Guard:
    """Passes streams to the real handler, or to `instead`, and keeps what is said."""

    inner: StreamHandler
    instead: StreamHandler | None = None
    exchanges: list[Exchange] = field(default_factory=list)

    async def __call__(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        seen = Exchange()
        self.exchanges.append(seen)
        replies: Any = (self.instead or self.inner)(call, _noted(messages, seen))
        try:
            async with contextlib.aclosing(replies):
                async for reply in replies:
                    seen.replies.append(ProcessingResponse.FromString(reply))
                    yield reply
            seen.ended = "ok"
        except CallFailed:
            seen.ended = "failed"
            raise
        except (asyncio.CancelledError, GeneratorExit):
            seen.ended = "cancelled"
            raise


async def _noted(messages: AsyncIterator[bytes], seen: Exchange) -> AsyncIterator[bytes]:
    async for message in messages:
        seen.messages.append(ProcessingRequest.FromString(message))
        yield message


@dataclass
class Checks:
    """Passes ext_authz calls to the real handler, and keeps what Envoy asked."""

    inner: UnaryHandler
    asked: list[CheckRequest] = field(default_factory=list)

    async def __call__(self, call: Call, message: bytes) -> bytes:
        self.asked.append(CheckRequest.FromString(message))
        return await answered(self.inner(call, message))


@dataclass
class Stand:
    port: int
    model: RawModel
    guard: Guard
    checks: Checks
    records: list[Record]
    admin: Path

    async def send(self, raw: bytes, **options: Any) -> Reply:
        """These very bytes; the first answer."""
        return parse(await asyncio.to_thread(exchange, self.port, raw, **options))

    async def ask(self, says: str = "chat", body: bytes | None = None) -> Reply:
        self.model.says = says
        return await self.send(with_length(chat() if body is None else body))

    async def last(self) -> Exchange:
        """The newest exchange, once its stream is over."""
        async with asyncio.timeout(60):
            while not (self.guard.exchanges and self.guard.exchanges[-1].ended):
                await asyncio.sleep(0.01)
        return self.guard.exchanges[-1]

    async def stats(self) -> dict[str, int]:
        """Envoy's counters of ext_proc by their last name."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.admin))) as session,
            session.get("http://admin/stats?format=json&filter=ext_proc") as answer,
        ):
            found = (await answer.json(content_type=None))["stats"]
        return {one["name"].rpartition(".")[2]: one["value"] for one in found if "value" in one}

    def reset(self) -> None:
        """For the next test of the same stand."""
        self.guard.instead = None
        self.guard.exchanges.clear()
        self.checks.asked.clear()
        self.model.script = None
        self.model.says = self.model.default
        self.model.received.clear()
        self.records.clear()


@contextlib.asynccontextmanager
async def watched(
    policy: str,
    static_config: StaticConfig,
    *,
    alter: Callable[[dict[str, Any]], None] | None = None,
    wire: str = DEFAULT_WIRE,
    hurried: bool = False,
) -> AsyncIterator[Stand]:
    """Start everything. {port} and {model} in the policy become ports; `alter` changes Envoy's configuration.

    hurried: Envoy waits for the guard as long as it does for users, which a busy machine may take for itself.
    """
    model, port = RawModel("chat"), free_port()
    text = policy.replace("{port}", str(port)).replace("{model}", str(model.port))
    bundle = compile_bundle(parse_policy(text), revision=1, version=1, issued_at="2026-01-01T00:00:00Z")
    current, records = Current(), list[Record]()
    current.configure(instance_id="i", probe_key=bytes(32))
    current.set_keys(
        KeySet(name="keys", version=1, keys=(KeyRecord(id="k", hash=key_hash(KEY), tenant="acme"),))
    )
    current.put_plan(load_plan(bundle.plan, Buckets(clock=time.monotonic)))
    check = Checks(ext_authz.ExtAuthz(current=current, audit=into(records), spans=Spans()))
    guard = Guard(ext_proc.ExtProc(current=current, audit=records.append, spans=Spans()))
    engine = ENGINES[wire]()
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        run_dir = Path(folder)
        config = static_config(bundle, run_dir)
        if not hurried:
            patient(config)
        if alter is not None:
            alter(config)
        file = run_dir / "envoy.json"
        file.write_text(json.dumps(config))
        await engine.start(
            run_dir / guard_socket(0),
            Services(unary={ext_authz.METHOD: check}, stream={ext_proc.METHOD: guard}),
        )
        envoy = await start("envoy", envoy_command(find_binary("envoy"), file), log=run_dir / "envoy.log")
        try:
            await _open(port, envoy)
            yield Stand(port, model, guard, check, records, run_dir / "admin.sock")
        finally:
            await envoy.stop()
            await engine.stop(0)
            model.down()


async def _open(port: int, envoy: Child) -> None:
    async with asyncio.timeout(60):
        while True:
            envoy.check()
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


def manager_of(config: dict[str, Any]) -> dict[str, Any]:
    """The HTTP connection manager in a static configuration."""
    (listener,) = config["static_resources"]["listeners"]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def filter_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration of one HTTP filter."""
    (found,) = (each["typed_config"] for each in manager_of(config)["http_filters"] if each["name"] == name)
    made: dict[str, Any] = found
    return made
