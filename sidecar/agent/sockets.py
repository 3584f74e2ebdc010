"""gRPC services for Envoy and the workers on unix sockets in the run folder, for our user alone."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import grpc


class Service(Protocol):
    """What can be added to a server."""

    def register(self, server: grpc.aio.Server) -> None: ...


async def serve(service: Service, socket: Path) -> grpc.aio.Server:
    """A running server; the caller stops it. A file that a killed agent left is replaced."""
    server = grpc.aio.server()
    service.register(server)
    socket.unlink(missing_ok=True)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    socket.chmod(0o600)
    return server
