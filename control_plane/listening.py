"""Taking the control plane's four ports: what can't be had is a fault that names the setting to change."""

from __future__ import annotations

import errno
import socket
from contextlib import AsyncExitStack

import grpc
import grpc.aio
from aiohttp import web

from bartizan.errors import DependencyRefused
from bartizan.tls import CertificateSource, ssl_context
from control_plane.api.door import within_descriptors
from control_plane.api.server import serve
from control_plane.setting_values import Address


async def listen_http(
    edge: AsyncExitStack, app: web.Application, name: str, address: Address, source: CertificateSource | None
) -> int:
    """Serve until `edge` ends; returns the port. Raises DependencyRefused."""
    try:
        runner, port = await serve(
            app, address.host, address.port, ssl_context(source) if source else None, within_descriptors()
        )
    except OSError as error:
        raise _not_ours(name, address, error) from None
    edge.push_async_callback(runner.cleanup)
    return port


def listen_grpc(
    server: grpc.aio.Server, name: str, address: Address, credentials: grpc.ServerCredentials
) -> int:
    """Take the port for this server; returns it. Raises DependencyRefused."""
    try:
        # Asked of the system first: gRPC says only that it failed, and that on standard error.
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        socket.create_server((address.host, address.port), family=family).close()
        return server.add_secure_port(str(address), credentials)
    except (OSError, RuntimeError) as error:
        raise _not_ours(name, address, error) from None


def _not_ours(name: str, address: Address, error: Exception) -> DependencyRefused:
    number = error.errno if isinstance(error, OSError) else errno.EADDRINUSE
    why = {errno.EADDRINUSE: "address in use", errno.EACCES: "not allowed"}.get(
        number or 0, "not an address of this machine"
    )
    setting = f"BARTIZAN_CP_{name.upper()}_LISTEN"
    return DependencyRefused(f"{address} can't be listened on: {why}; {setting} names another")
