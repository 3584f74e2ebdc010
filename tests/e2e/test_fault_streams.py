"""The guard's stream to Envoy broken off or gone silent at every message of an exchange: Envoy must fail closed.

The guard's own handlers run inside this test, so that the fault comes exactly where a row says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bartizan.local.binaries import find_binary
from bartizan.local.processes import free_port, start
from bartizan.policy.bundle import Bundle
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from sidecar.agent.bootstrap import envoy_command, guard_socket
from sidecar.audit.record import Record
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire import ext_authz, ext_proc
from sidecar.wire.engine import Call, CallFailed, Services, StreamHandler
from sidecar.wire.engine_grpcio import GrpcioEngine
from sidecar.wire.trace import Spans
from tests.support.raw_client import Reply, exchange, parse, shed
from tests.support.raw_model import CANARY, RawModel
from tests.support.records import into

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("sidecar")]

KEY = new_key()
POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: streams}
spec:
  selector: {matchLabels: {app: streams}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: chat, protocol: openai, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  input: [{promptInjection: {}}]
  output: [{canary: {tokens: [canary-7f3a9c21]}}]
"""


@dataclass
class Faulty:
    """Passes an exchange to the real handler, until the message of kind `at` comes."""

    inner: StreamHandler
    at: str = ""
    hangs: bool = False

    async def __call__(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for reply in self.inner(call, self._watched(messages)):
            yield reply

    async def _watched(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            if ProcessingRequest.FromString(message).WhichOneof("request") == self.at:
                if self.hangs:
                    await asyncio.sleep(3600)
                raise CallFailed(13, "broken off by the test")
            yield message


@dataclass
class Stand:
    port: int
    model: RawModel
    faulty: Faulty
    records: list[Record]

    async def ask(self, model: str) -> Reply:
        """Asked again where the answer came only of waiting, unless the guard shall be lost."""
        for _ in range(20):
            asked = time.monotonic()
            reply = await self._asked(model)
            if self.faulty.at or not shed(reply.status, asked):
                break
        return reply

    async def _asked(self, model: str) -> Reply:
        self.model.says = model
        body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}]})
        raw = await asyncio.to_thread(
            exchange,
            self.port,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n"
            f"x-api-key: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode(),
        )
        return parse(raw)


@pytest.fixture
async def stand(static_config: Callable[[Bundle, Path], dict[str, Any]]) -> AsyncIterator[Stand]:
    model, port = RawModel("chat"), free_port()
    text = POLICY.replace("{port}", str(port)).replace("{model}", str(model.port))
    bundle = compile_bundle(parse_policy(text), revision=1, version=1, issued_at="2026-01-01T00:00:00Z")
    current, records = Current(), list[Record]()
    current.configure(instance_id="i", probe_key=bytes(32))
    current.set_keys(
        KeySet(name="keys", version=1, keys=(KeyRecord(id="k", hash=key_hash(KEY), tenant="acme"),))
    )
    current.put_plan(load_plan(bundle.plan, Buckets(clock=time.monotonic)))
    check = ext_authz.ExtAuthz(current=current, audit=into(records), spans=Spans())
    faulty = Faulty(ext_proc.ExtProc(current=current, audit=records.append, spans=Spans()))
    engine = GrpcioEngine()
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        run_dir = Path(folder)
        config = run_dir / "envoy.json"
        config.write_text(json.dumps(static_config(bundle, run_dir)))
        await engine.start(
            run_dir / guard_socket(0),
            Services(unary={ext_authz.METHOD: check}, stream={ext_proc.METHOD: faulty}),
        )
        envoy = await start("envoy", envoy_command(find_binary("envoy"), config), log=run_dir / "envoy.log")
        made = Stand(port, model, faulty, records)
        try:
            async with asyncio.timeout(60):
                while True:
                    envoy.check()
                    with contextlib.suppress(OSError):
                        if (await made.ask("chat")).status == 200:
                            break
                    await asyncio.sleep(0.05)
            model.received.clear()
            yield made
        finally:
            await envoy.stop()
            await engine.stop(0)
            model.down()


@pytest.mark.parametrize("hangs", [False, True], ids=["broken off", "silent"])
@pytest.mark.parametrize("at", ["request_headers", "request_body"])
async def test_a_guard_lost_before_the_model_is_asked_refuses(stand: Stand, at: str, hangs: bool) -> None:
    stand.faulty.at, stand.faulty.hangs = at, hangs
    reply = await stand.ask("chat")
    assert (reply.status, reply.headers.get("retry-after")) == (503, "1")
    assert not stand.model.received


@pytest.mark.parametrize("model", ["chat", "sse"])
async def test_a_guard_lost_at_the_answer_s_headers_refuses(stand: Stand, model: str) -> None:
    stand.faulty.at = "response_headers"
    reply = await stand.ask(model)
    assert (reply.status, reply.headers.get("retry-after")) == (503, "1")
    assert b"fine" not in reply.raw


async def test_a_guard_lost_within_a_withheld_answer_lets_nothing_of_it_out(stand: Stand) -> None:
    stand.faulty.at = "response_body"
    reply = await stand.ask("chat")
    assert reply.status in {503, 0}
    assert b"fine" not in reply.raw


async def test_a_guard_lost_within_a_stream_ends_it_unfinished(stand: Stand) -> None:
    stand.faulty.at = "response_body"
    reply = await stand.ask("sse_canary_late")
    assert CANARY.encode() not in reply.raw
    assert not reply.whole
    assert b"[DONE]" not in reply.raw


async def test_afterwards_everything_is_as_before(stand: Stand) -> None:
    stand.faulty.at = "request_body"
    assert (await stand.ask("chat")).status == 503
    stand.faulty.at = ""
    reply = await stand.ask("sse_canary")
    assert reply.status == 200
    assert CANARY.encode() not in reply.raw
    async with asyncio.timeout(60):  # the client may have it all before the exchange is closed
        while stand.records[-1].cause != "answer_cut":
            await asyncio.sleep(0.01)
