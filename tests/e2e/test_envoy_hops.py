"""What compiled filters do to a request when a guard does answer: a guard of a few lines, real Envoy, a real model."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status

from bartizan.local.binaries import find_binary
from bartizan.local.processes import free_port, start
from bartizan.policy import names
from bartizan.policy.validate import parse_policy
from control_plane.compile.bundle import compile_bundle
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from protos.gen.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2, external_processor_pb2_grpc
from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from protos.gen.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from sidecar.agent.bootstrap import envoy_command, guard_socket

pytestmark = pytest.mark.e2e

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {{name: hops}}
spec:
  selector: {{matchLabels: {{app: hops}}}}
  listener: {{address: 127.0.0.1, port: {port}, tls: none}}
  model: {{name: hops, protocol: json_fields, port: {model}}}
  routes: [{{path: /v1/predict, inputText: [$.text], outputText: [$.out]}}]
  tenants: [acme]
  authn: {{apiKeys: {{set: hops}}}}
  limits: {{body: {{max: {limit}B}}}}
  input: [{{pii: {{}}}}]
  output: [{{pii: {{}}}}]
"""


@dataclass(slots=True)
class Seen:
    """What arrived where."""

    checks: list[external_auth_pb2.CheckRequest] = field(default_factory=list)
    messages: list[ProcessingRequest] = field(default_factory=list)
    model: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


class Authorizer(external_auth_pb2_grpc.AuthorizationServicer):
    """Allows everything except requests that ask for a denial."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def Check(  # noqa: N802
        self, request: external_auth_pb2.CheckRequest, context: Any
    ) -> external_auth_pb2.CheckResponse:
        self.seen.checks.append(request)
        metadata = Struct()
        metadata.update({"decision_id": "d" * 32, "identity": {"tenant": "acme"}})
        if "x-deny" in request.attributes.request.http.headers:
            return external_auth_pb2.CheckResponse(
                status=Status(code=7),
                denied_response=external_auth_pb2.DeniedHttpResponse(
                    status=HttpStatus(code=StatusCode.ServiceUnavailable),
                    headers=[
                        _header(names.HEADER_DECISION, "guard"),
                        _header("content-type", "text/x-guard"),
                    ],
                    body="said by the guard",
                ),
                dynamic_metadata=metadata,
            )
        return external_auth_pb2.CheckResponse(
            status=Status(code=0),
            ok_response=external_auth_pb2.OkHttpResponse(headers_to_remove=["x-api-key"]),
            dynamic_metadata=metadata,
        )


class Processor(external_processor_pb2_grpc.ExternalProcessorServicer):
    """Replaces request bodies by their upper case; denies those that say DENY."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def Process(self, requests: Any, context: Any) -> AsyncIterator[ProcessingResponse]:  # noqa: N802
        async for message in requests:
            self.seen.messages.append(message)
            if message.HasField("request_headers"):
                yield ProcessingResponse(request_headers=external_processor_pb2.HeadersResponse())
            elif b"deny" in message.request_body.body:
                yield ProcessingResponse(
                    immediate_response=external_processor_pb2.ImmediateResponse(
                        status=HttpStatus(code=StatusCode.Forbidden),
                        headers=external_processor_pb2.HeaderMutation(
                            set_headers=[_header(names.HEADER_DECISION, "guard", raw=True)]
                        ),
                        body=b"said by the guard",
                    )
                )
            else:
                body = message.request_body.body.upper()
                yield ProcessingResponse(
                    request_body=external_processor_pb2.BodyResponse(
                        response=external_processor_pb2.CommonResponse(
                            header_mutation=external_processor_pb2.HeaderMutation(
                                set_headers=[_header("content-length", str(len(body)), raw=True)]
                            ),
                            body_mutation=external_processor_pb2.BodyMutation(body=body),
                        )
                    )
                )


def _header(name: str, value: str, *, raw: bool = False) -> HeaderValueOption:
    """ext_authz reads `value`, ext_proc `raw_value`."""
    header = HeaderValue(key=name, raw_value=value.encode()) if raw else HeaderValue(key=name, value=value)
    return HeaderValueOption(header=header, append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)


@dataclass(slots=True)
class Stack:
    url: str
    seen: Seen
    client: aiohttp.ClientSession

    async def post(self, body: bytes, *, chunked: bool, encoding: str) -> int:
        """The answer's status; a connection cut while we were still sending is what a 413 may look like."""

        async def pieces() -> AsyncIterator[bytes]:
            for begin in range(0, len(body), 65536):
                yield body[begin : begin + 65536]

        headers = {"content-encoding": encoding} if encoding else {}
        data = pieces() if chunked else io.BytesIO(body)
        try:
            async with self.client.post(self.url, data=data, headers=headers) as answer:
                await answer.read()
                return answer.status
        except aiohttp.ClientOSError:
            return 413


@pytest.fixture
def limit() -> int:
    """limits.body.max in bytes; tests parametrize it."""
    return 1024 * 1024


@pytest.fixture
async def stack(static_config: Any, limit: int) -> AsyncIterator[Stack]:
    port, model_port, seen = free_port(), free_port(), Seen()
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        run_dir = Path(folder)
        bundle = compile_bundle(
            parse_policy(POLICY.format(port=port, model=model_port, limit=limit)),
            revision=4, version=9, issued_at="2026-01-02T03:04:05Z",
        )  # fmt: skip
        config = run_dir / "envoy.json"
        config.write_text(json.dumps(static_config(bundle, run_dir)))

        async def model(request: web.Request) -> web.Response:
            seen.model.append((dict(request.headers), await request.read()))
            return web.json_response(
                {}, headers={names.HEADER_DECISION: "spoofed", names.HEADER_PROOF: "spoofed"}
            )

        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{path:.*}", model)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", model_port).start()
        guard = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
        external_auth_pb2_grpc.add_AuthorizationServicer_to_server(Authorizer(seen), guard)
        external_processor_pb2_grpc.add_ExternalProcessorServicer_to_server(Processor(seen), guard)
        guard.add_insecure_port(f"unix:{run_dir / guard_socket(0)}")
        await guard.start()
        envoy = await start("envoy", envoy_command(find_binary("envoy"), config), log=run_dir / "envoy.log")
        try:
            async with asyncio.timeout(30):
                while not await _open(port):
                    envoy.check()
                    await asyncio.sleep(0.02)
            async with aiohttp.ClientSession() as client:
                yield Stack(url=f"http://127.0.0.1:{port}/v1/predict", seen=seen, client=client)
        finally:
            await envoy.stop()
            await guard.stop(None)
            await runner.cleanup()


async def _open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_guard_is_told_the_plan_and_the_model_gets_what_the_guard_made_of_the_body(
    stack: Stack,
) -> None:
    spoofed = {
        "x-bartizan-decision": "s", "x-bartizan-probes": "s", "x-bartizan-p": "s", "x-envoy-retry-on": "5xx",
        "x-request-id": "s", "x-forwarded-for": "9.9.9.9", "x-forwarded-host": "s", "traceparent": f"00-{'1' * 32}-{'2' * 16}-00",
        "tracestate": "s=1", "x-client-trace-id": "s", "x-forwarded-client-cert": "s", "x-http-method-override": "GET",
        "x-original-url": "/s", "accept-encoding": "gzip",
    }  # fmt: skip
    async with stack.client.post(
        stack.url, data=b"hello", headers={**spoofed, "x-api-key": "k", "x-other": "kept"}
    ) as answer:
        assert answer.status == 200
        assert names.HEADER_DECISION not in answer.headers
        assert names.HEADER_PROOF not in answer.headers
        assert "x-envoy-upstream-service-time" not in answer.headers
        assert answer.headers["server"] == "bartizan"
    (check,) = stack.seen.checks
    assert dict(check.attributes.context_extensions) == {names.REVISION: "4.9", names.CONTENT: "1"}
    told = check.attributes.request.http.headers
    assert told["x-api-key"] == "k"
    assert {name for name, value in spoofed.items() if told.get(name) == value} == {"accept-encoding"}
    headers, body = stack.seen.messages
    attributes = headers.attributes["envoy.filters.http.ext_proc"].fields
    assert attributes[names.PROC_REVISION_ATTRIBUTE].string_value == "4.9"
    assert attributes["source.address"].string_value.startswith("127.0.0.1:")
    for message in (headers, body):
        metadata = message.metadata_context.filter_metadata[names.AUTHZ_METADATA]
        assert metadata.fields["decision_id"].string_value == "d" * 32
    assert body.request_body.body == b"hello"
    ((received, sent),) = stack.seen.model
    assert sent == b"HELLO"
    lower = {name.lower(): value for name, value in received.items()}
    assert lower["x-other"] == "kept"
    assert "9.9.9.9" not in lower["x-forwarded-for"]
    gone = set(spoofed) | {"x-api-key"}
    left = {name for name in gone & set(lower) if lower[name] == spoofed.get(name, "k")}
    assert not left


async def test_denials_of_the_guard_keep_its_body_and_header(stack: Stack) -> None:
    async with stack.client.post(stack.url, data=b"x", headers={"x-deny": "1"}) as answer:
        assert (answer.status, await answer.read()) == (503, b"said by the guard")
        assert answer.headers[names.HEADER_DECISION] == "guard"
        assert answer.headers["content-type"] == "text/x-guard"
    assert stack.seen.messages == []
    async with stack.client.post(stack.url, data=b"deny") as answer:
        assert (answer.status, await answer.read()) == (403, b"said by the guard")
        assert answer.headers[names.HEADER_DECISION] == "guard"
    assert stack.seen.model == []


BODIES: dict[str, tuple[Callable[[int], bytes], bool, int]] = {
    "empty": (lambda _: b"", False, 200),
    "at limit": (lambda limit: b"a" * limit, False, 200),
    "over limit": (lambda limit: b"a" * (limit + 1), False, 413),
    "far over limit": (lambda limit: b"a" * (limit * 3 + 500_000), False, 413),
    "gzip": (lambda _: b"plain", True, 200),
    "gzip far over limit": (lambda limit: numbers(limit * 3 + 200_000), True, 413),
}


def numbers(size: int) -> bytes:
    """Text that gzip makes only a few times smaller."""
    return b"".join(b"%d," % (n * n) for n in range(size // 6))[:size]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("limit", [1024, 256 * 1024 - 1, 256 * 1024, 3 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_bodies_are_bounded_after_decompression(stack: Stack, limit: int, chunked: bool) -> None:
    for rule, (make, compressed, status) in BODIES.items():
        plain = make(limit)
        sent = gzip.compress(plain) if compressed else plain
        stack.seen.model.clear()
        got = await stack.post(sent, chunked=chunked, encoding="gzip" if compressed else "")
        assert got == status, rule
        if status == 413:
            assert stack.seen.model == [], rule
        else:
            ((headers, received),) = stack.seen.model
            assert received == plain.upper(), rule
            assert "Content-Encoding" not in headers


async def test_a_bomb_or_broken_data_is_truncated_alike_for_guard_and_model(stack: Stack) -> None:
    for body in (gzip.compress(b"a" * 50_000_000), b"\x1f\x8b\x08 no gzip"):
        stack.seen.model.clear()
        stack.seen.messages.clear()
        assert await stack.post(body, chunked=False, encoding="gzip") in {200, 413}
        guarded = [message.request_body.body for message in stack.seen.messages][1:]
        # too much for the guard's answer to be taken, or exactly what the guard made of what it saw
        assert [sent for _, sent in stack.seen.model] in ([], [seen.upper() for seen in guarded])


async def test_probe_never_reaches_the_model(stack: Stack) -> None:
    async with stack.client.post(stack.url, data=b"hello", headers={names.HEADER_PROBE: "any"}) as answer:
        assert answer.status == 404
    assert stack.seen.checks[0].attributes.context_extensions[names.REVISION] == "4.9"
    assert stack.seen.checks[0].attributes.request.http.headers[names.HEADER_PROBE] == "any"
    first = stack.seen.messages[0].attributes["envoy.filters.http.ext_proc"].fields
    assert first[names.PROC_REVISION_ATTRIBUTE].string_value == "4.9"
    assert [message.WhichOneof("request") for message in stack.seen.messages] == [
        "request_headers",
        "request_body",
    ]
    assert stack.seen.model == []


async def test_undeclared_paths_cost_no_guard_call(stack: Stack) -> None:
    async with stack.client.post(stack.url + "/other", data=io.BytesIO(b"a" * 5_000_000)) as answer:
        assert answer.status == 404
    assert stack.seen.checks == []
    assert stack.seen.messages == []
