"""The kubelet's probes of other containers: asked here at the health port, and asked again of them over loopback.

The injector rewrites probes so (control_plane/injector/probes.py): at the pod's own address only Envoy answers, and it
would refuse the kubelet. Success is what it is for the kubelet: status 200 to 399, a connection, or SERVING.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import grpc
import msgspec
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc

PATH = "/app-probes"
MOST_AT_ONCE = 16


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class HttpGet(_Part, frozen=True):
    port: int
    path: str = "/"
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()


class TcpSocket(_Part, frozen=True):
    port: int


class GrpcCheck(_Part, frozen=True):
    port: int
    service: str = ""


class AppProbe(_Part, frozen=True):
    """Exactly one of the three is given."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: GrpcCheck | None = None
    timeout_seconds: int = 1


class AppProbes:
    """Answers /app-probes/CONTAINER/KIND; what the injector did not name is 404."""

    def __init__(self, probes: Mapping[str, AppProbe]) -> None:
        self._probes = probes
        # Anybody may reach the health port: no flood of it becomes a flood of the model.
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def answer(self, request: web.Request) -> web.Response:
        probe = self._probes.get(request.path)
        if probe is None:
            return web.json_response({"ok": False, "reason": "no_such_probe"}, status=404)
        try:
            async with asyncio.timeout(probe.timeout_seconds), self._places:
                reason = await _ask(probe)
        except TimeoutError:
            reason = "timeout"
        return web.json_response({"ok": not reason, "reason": reason}, status=503 if reason else 200)


async def _ask(probe: AppProbe) -> str:
    """ "" when the container is well, else a word that says why not."""
    try:
        if probe.http_get is not None:
            return await _http(probe.http_get)
        if probe.tcp_socket is not None:
            _, writer = await asyncio.open_connection("127.0.0.1", probe.tcp_socket.port)
            writer.close()
            return ""
        if probe.grpc is not None:
            return await _grpc(probe.grpc)
    except (aiohttp.ClientError, OSError):
        return "no_connection"
    return "nothing_to_ask"


async def _http(asked: HttpGet) -> str:
    url = f"{asked.scheme.lower()}://127.0.0.1:{asked.port}/{asked.path.removeprefix('/')}"
    # As the kubelet does: no certificate is checked, no redirect to elsewhere followed.
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.get(url, headers=asked.headers, ssl=False, allow_redirects=False) as response,
    ):
        return "" if 200 <= response.status < 400 else f"status_{response.status}"


async def _grpc(asked: GrpcCheck) -> str:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{asked.port}") as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=asked.service)
            )
        except grpc.aio.AioRpcError as error:
            return error.code().name.lower()
    return "" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not_serving"
