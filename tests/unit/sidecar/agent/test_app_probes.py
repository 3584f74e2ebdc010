"""The kubelet's probes, asked again over loopback of real servers: well is what is well for the kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import grpc
import msgspec
import pytest
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from bartizan import tasks
from bartizan.local.processes import free_port
from control_plane.injector.pods import read_pod
from control_plane.injector.probes import rewrite_probes
from sidecar.agent.app_probes import PATH, AppProbe, AppProbes, HttpGet
from sidecar.pod_settings import app_probes
from tests.support.pod_cases import CASES, case_pod


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


async def asked(probe: dict[str, object], path: str = f"{PATH}/model/readiness") -> tuple[int, str]:
    """Status and reason of the agent's answer for one configured probe."""
    known = {f"{PATH}/model/readiness": msgspec.convert(probe, AppProbe)}
    app = web.Application()
    app.router.add_get(PATH + "/{container}/{kind}", AppProbes(known).answer)
    async with (
        served(app) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, (await response.json())["reason"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, (200, "")), (302, (200, "")), (404, (503, "status_404")), (500, (503, "status_500"))],
)
async def test_http_is_well_with_a_status_from_200_to_399(status: int, expected: tuple[int, str]) -> None:
    seen: list[tuple[str, str | None]] = []

    async def health_page(request: web.Request) -> web.Response:
        seen.append((request.path_qs, request.headers.get("x-probe")))
        return web.Response(status=status, headers={"location": "/elsewhere"})

    model = web.Application()
    model.router.add_get("/health", health_page)
    async with served(model) as port:
        get = {"port": port, "path": "/health?deep=1", "headers": [["X-Probe", "kubelet"]]}
        assert await asked({"httpGet": get, "timeoutSeconds": 60}) == expected
    assert seen == [("/health?deep=1", "kubelet")]


async def test_nobody_there_and_nothing_said_in_time_are_not_well() -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    model = web.Application()
    model.router.add_get("/", hang)
    nobody = {"port": free_port()}
    assert await asked({"httpGet": nobody, "timeoutSeconds": 60}) == (503, "no_connection")
    assert await asked({"tcpSocket": nobody, "timeoutSeconds": 60}) == (503, "no_connection")
    async with served(model) as port:
        assert await asked({"httpGet": {"port": port}}) == (503, "timeout")
        assert await asked({"tcpSocket": {"port": port}, "timeoutSeconds": 60}) == (200, "")


async def test_a_flood_of_one_probe_is_one_question_to_the_model_and_leaves_every_probe_its_answer() -> None:
    """The flood comes first, to a model that hangs; the kubelet's own requests are the last to come."""
    hung, quick = 0, 0
    ended = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        nonlocal hung
        hung += 1
        await ended.wait()
        return web.Response()

    async def well(_request: web.Request) -> web.Response:
        nonlocal quick
        quick += 1
        return web.Response()

    model = web.Application()
    model.router.add_get("/hang", hang)
    model.router.add_get("/well", well)
    async with served(model) as port:
        known = {
            f"{PATH}/model/liveness": AppProbe(http_get=HttpGet(port=port, path="/hang"), timeout_seconds=60),
            f"{PATH}/model/readiness": AppProbe(
                http_get=HttpGet(port=port, path="/well"), timeout_seconds=60
            ),
        }
        app = web.Application()
        app.router.add_get(PATH + "/{container}/{kind}", AppProbes(known).answer)
        async with served(app) as agent, asyncio.TaskGroup() as group, asyncio.timeout(120):
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{agent}", connector=connector) as session:

                async def ask(kind: str) -> int:
                    async with session.get(f"{PATH}/model/{kind}") as response:
                        return response.status

                flood = [tasks.start(group, ask("liveness"), name="flood") for _ in range(64)]
                while not hung:
                    await asyncio.sleep(0.01)
                assert [await ask("readiness") for _ in range(20)] == [200] * 20
                kubelet = tasks.start(group, ask("liveness"), name="kubelet")
                await asyncio.sleep(0)
                ended.set()
                assert [await each for each in (kubelet, *flood)] == [200] * 65
    assert hung <= 2, "one, or a second one for who came after it"
    assert quick < 20


async def test_a_container_that_became_unwell_is_not_well_for_long() -> None:
    status = 200

    async def page(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    model = web.Application()
    model.router.add_get("/", page)
    async with served(model) as port:
        known = {f"{PATH}/model/liveness": AppProbe(http_get=HttpGet(port=port))}
        app = web.Application()
        app.router.add_get(PATH + "/{container}/{kind}", AppProbes(known).answer)
        async with served(app) as agent, aiohttp.ClientSession() as session, asyncio.timeout(30):
            url = f"http://127.0.0.1:{agent}{PATH}/model/liveness"
            for expected in (200, 503, 200):
                status = 500 if expected == 503 else 200
                while True:
                    async with session.get(url) as response:
                        if response.status == expected:
                            break
                    await asyncio.sleep(0.05)


async def test_grpc_is_well_when_it_serves() -> None:
    server = grpc.aio.server()
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await servicer.set("model", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("other", health_pb2.HealthCheckResponse.NOT_SERVING)
    try:
        for name, answer in (
            ("model", (200, "")),
            ("other", (503, "not_serving")),
            ("unknown", (503, "not_found")),
        ):
            assert await asked({"grpc": {"port": port, "service": name}, "timeoutSeconds": 60}) == answer
    finally:
        await server.stop(None)


async def test_only_what_the_injector_named_is_asked() -> None:
    assert await asked({"tcpSocket": {"port": 1}}, f"{PATH}/model/liveness") == (404, "no_such_probe")


def test_the_agent_reads_what_the_injector_writes() -> None:
    read = 0
    for case in CASES:
        if case == "refused_not_a_pod":
            continue
        document = case_pod(case)
        written = rewrite_probes(read_pod(document), document)
        probes = app_probes(msgspec.json.encode(written).decode())
        assert probes.keys() == written.keys()
        read += len(probes)
    assert read > 10
