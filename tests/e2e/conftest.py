"""Shared by end-to-end tests with a real Envoy: static configurations, and a stack with a guard of a few lines."""

from __future__ import annotations

import asyncio
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
import pytest_asyncio
from aiohttp import web
from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status

from bartizan.local.binaries import find_binary
from bartizan.local.processes import free_port, start
from bartizan.policy import names
from bartizan.policy.bundle import Bundle
from bartizan.policy.validate import parse_policy
from bartizan.xds.resources import to_json
from control_plane.compile.bundle import compile_bundle
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from protos.gen.envoy.config.listener.v3.listener_pb2 import Listener
from protos.gen.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2, external_processor_pb2_grpc
from protos.gen.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from protos.gen.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from sidecar.agent import attempts
from sidecar.agent.bootstrap import bootstrap, bootstrap_json, envoy_command, guard_socket
from sidecar.agent.envoy_config import EnvoyConfig
from tests.support.gateway import Gateway, gateway, patient

WORKERS = 2


@pytest.fixture(scope="session")
def static_config() -> Callable[[Bundle, Path], dict[str, Any]]:
    """static_config(bundle, run_dir): one Envoy file that needs no agent, with the bundle's resources inside."""
    return _static_config


def _static_config(bundle: Bundle, run_dir: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(bootstrap_json(bootstrap("test", run_dir, WORKERS)))
    config.pop("dynamic_resources")
    limited = attempts.limited(EnvoyConfig.read(bundle.envoy)[names.TYPE_LISTENER], WORKERS)
    listeners = [to_json(Listener.FromString(item.value)) for item in limited.items.values()]
    for listener in listeners:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager.pop("rds")
        (manager["route_config"],) = (_typeless(routes) for routes in bundle.envoy.routes)
        for entry in manager["http_filters"]:
            if entry.pop("config_discovery", None):
                (extension,) = bundle.envoy.extensions
                # as the agent serves it while no issuer's keys are known
                entry["typed_config"] = {"@type": extension["typed_config"]["@type"]}
    resources = config["static_resources"]
    resources["listeners"] = [_typeless(listener) for listener in listeners]
    resources["clusters"].extend(_typeless(cluster) for cluster in bundle.envoy.clusters)
    return config


def _typeless(resource: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key != "@type"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(request: pytest.FixtureRequest, static_config: Any) -> AsyncIterator[Gateway]:
    """Envoy and a guard worker with the POLICY of the test's own file."""
    async with gateway(request.module.POLICY, static_config) as running:
        yield running


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
  telemetry: {{traceSample: 1}}
"""


@dataclass(slots=True)
class Seen:
    """What arrived where."""

    checks: list[external_auth_pb2.CheckRequest] = field(default_factory=list)
    messages: list[ProcessingRequest] = field(default_factory=list)
    model: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


class Authorizer(external_auth_pb2_grpc.AuthorizationServicer):
    """Allows everything except requests whose key is "deny"; draws those whose key is "draw"."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def Check(  # noqa: N802
        self, request: external_auth_pb2.CheckRequest, context: Any
    ) -> external_auth_pb2.CheckResponse:
        self.seen.checks.append(request)
        metadata = Struct()
        metadata.update({"decision_id": "d" * 32, "identity": {"tenant": "acme"}})
        key = request.attributes.request.http.headers.get("x-api-key")
        if key == "draw":
            metadata.update({names.TRACED: True})
        if key == "deny":
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
            elif message.HasField("request_trailers"):  # Envoy's decompressor adds some
                yield ProcessingResponse(request_trailers=external_processor_pb2.TrailersResponse())
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
    run_dir: Path

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
        config.write_text(json.dumps(patient(static_config(bundle, run_dir))))

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
            async with asyncio.timeout(60):
                while not await _open(port):
                    envoy.check()
                    await asyncio.sleep(0.02)
            async with aiohttp.ClientSession() as client:
                yield Stack(
                    url=f"http://127.0.0.1:{port}/v1/predict", seen=seen, client=client, run_dir=run_dir
                )
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
