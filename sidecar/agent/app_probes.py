"""The kubelet's probes of other containers: asked here at the health port, and asked again of them over loopback.

The injector rewrites probes so (control_plane/injector/probes.py): at the pod's own address only Envoy answers, and it
would refuse the kubelet. Success is what it is for the kubelet: status 200 to 399, a connection, or SERVING.
Anybody may reach the health port, so each probe is asked once at a time and its answer shared by all who wait: a flood
of it is no flood of the model, and leaves the kubelet no turn to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bartizan import tasks
from sidecar.agent.lean_aiohttp import aiohttp, web

PATH = "/app-probes"
FRESH_SECONDS = 0.25
"""An answer this young is given again. The kubelet asks once a second at most."""


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
        self._shared = {path: _Shared(probe) for path, probe in probes.items()}

    async def answer(self, request: web.Request) -> web.Response:
        shared = self._shared.get(request.path)
        if shared is None:
            return web.json_response({"ok": False, "reason": "no_such_probe"}, status=404)
        reason = await shared.ask()
        return web.json_response({"ok": not reason, "reason": reason}, status=503 if reason else 200)


class _Shared:
    """One probe: whoever comes while it is being asked, or just after, gets the same answer."""

    def __init__(self, probe: AppProbe) -> None:
        self._probe = probe
        self._asking: asyncio.Future[str] | None = None
        self._reason = ""
        self._answered = float("-inf")

    async def ask(self) -> str:
        """ "" when the container is well, else a word that says why not; after the probe's timeout at the latest."""
        if self._asking is not None:
            return await asyncio.shield(self._asking)
        loop = asyncio.get_running_loop()
        if loop.time() - self._answered < FRESH_SECONDS:
            return self._reason
        self._asking = loop.create_future()
        # What those get who wait for one that was cancelled.
        reason = "not_asked"
        try:
            async with tasks.timeout(self._probe.timeout_seconds):
                reason = await _ask(self._probe)
        except TimeoutError:
            reason = "timeout"
        finally:
            self._asking.set_result(reason)
            self._asking = None
        self._reason, self._answered = reason, loop.time()
        return reason


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
