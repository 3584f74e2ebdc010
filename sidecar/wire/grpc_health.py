"""grpc.health.v1 for our own engine: the whole server ("") serves until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from sidecar.wire.engine import Call, CallFailed, Services
from sidecar.wire.grpc_status import INTERNAL, NOT_FOUND

_Response = health_pb2.HealthCheckResponse
_SERVING: bytes = _Response(status=_Response.SERVING).SerializeToString()
_NOT_SERVING: bytes = _Response(status=_Response.NOT_SERVING).SerializeToString()
_UNKNOWN: bytes = _Response(status=_Response.SERVICE_UNKNOWN).SerializeToString()


class Health:
    """`stop` tells everyone who watches."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    @property
    def services(self) -> Services:
        """What an engine serves beside its own."""
        service = "/grpc.health.v1.Health/"
        return Services(unary={f"{service}Check": self._check}, stream={f"{service}Watch": self._watch})

    def stop(self) -> None:
        self._stopped.set()

    def _now(self) -> bytes:
        return _NOT_SERVING if self._stopped.is_set() else _SERVING

    async def _check(self, call: Call, message: bytes) -> bytes:  # noqa: ARG002
        if _service(message):
            raise CallFailed(NOT_FOUND, "unknown service")
        return self._now()

    async def _watch(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:  # noqa: ARG002
        async for message in messages:
            if _service(message):
                yield _UNKNOWN
            elif not self._stopped.is_set():
                yield _SERVING
            await self._stopped.wait()
            if not _service(message):
                yield _NOT_SERVING
            await asyncio.Event().wait()  # a watch is ended by its caller, or with the connection


def _service(message: bytes) -> str:
    try:
        return str(health_pb2.HealthCheckRequest.FromString(message).service)
    except DecodeError as error:
        raise CallFailed(INTERNAL, "no HealthCheckRequest") from error
