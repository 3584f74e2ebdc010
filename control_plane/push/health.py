"""grpc.health.v1 on the gRPC ports, for load balancers and probes: unary only, so that nobody can pile up streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """`services` are known by their full names, the server as a whole by ""; all are well while `ready()` holds."""

    def __init__(self, ready: Callable[[], bool], services: Iterable[str]) -> None:
        self._ready = ready
        self._services = frozenset({"", *services})

    def register(self, server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    async def Check(  # noqa: N802 - gRPC's name
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service on this port")
        serving = health_pb2.HealthCheckResponse.SERVING
        not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=serving if self._ready() else not_serving)

    async def Watch(  # noqa: N802 - gRPC's name
        self,
        request: Any,  # noqa: ARG002
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> NoReturn:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "ask with Check")
        raise AssertionError("abort raises")  # pragma: no cover
