"""Connections to the ports for sidecars that ask nothing: they end, so that nobody's silence takes all descriptors."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from bartizan.xds.server import SERVER_OPTIONS
from control_plane.sidecar_ports import ATTEST_OPTIONS

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""What an HTTP/2 client begins with: its preface and empty settings."""


@pytest.mark.parametrize(
    ("options", "said"),
    [(SERVER_OPTIONS, b""), (ATTEST_OPTIONS, b""), (ATTEST_OPTIONS, GREETING)],
    ids=["mtls-silent", "attest-silent", "attest-idle"],
)
async def test_a_connection_that_asks_nothing_is_closed(
    options: tuple[tuple[str, int], ...], said: bytes
) -> None:
    server = grpc.aio.server(options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(60):
            await reader.read()
        writer.close()
    finally:
        await server.stop(None)
