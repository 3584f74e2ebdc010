"""What a client says of a control plane that it gets no answer from."""

from __future__ import annotations

import asyncio

import pytest

from bartizan.client import Client
from bartizan.errors import DependencyUnavailable


async def test_a_port_that_does_not_speak_tls_is_told_as_such() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"https://127.0.0.1:{port}", "token") as client:
            with pytest.raises(DependencyUnavailable, match=r"no TLS: .*WRONG_VERSION_NUMBER"):
                await client.policies()
