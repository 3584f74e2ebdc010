"""A client of HTTP/2: a whole body within the window that it is given, or an end as HTTP/1 clients seldom make it, with
trailers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import ngh2

_MOST = 1 << 20


@dataclass(slots=True)
class Http2Reply:
    """status 0: the stream or the connection ended without an answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def post_with_trailers(
    port: int, path: str, headers: Mapping[str, str], pieces: tuple[bytes, ...] = ()
) -> Http2Reply:
    """POST the headers, each piece in a DATA frame of its own (b"" makes an empty frame), then one trailer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = ngh2.Connection(ngh2.Role.CLIENT)
    client.initiate_connection({})
    sent = [(":method", "POST"), (":scheme", "http"), (":authority", "model"), (":path", path)]
    fields = [(name.encode(), value.encode()) for name, value in [*sent, *headers.items()]]
    stream = client.send_request(fields, end_stream=False)
    writer.write(client.data_to_send(_MOST))
    for piece in pieces:
        client.send_data(stream, piece)
        writer.write(client.data_to_send(_MOST) or _empty_data(stream))
    client.send_trailers(stream, [(b"x-end", b"1")])
    writer.write(client.data_to_send(_MOST))
    reply = Http2Reply()
    try:
        async with asyncio.timeout(60):
            while read := await reader.read(1 << 16):
                client.receive_data(read)
                if _note(reply, client.events()):
                    break
                writer.write(client.data_to_send(_MOST))
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return reply


async def post(port: int, path: str, headers: Mapping[str, str], body: bytes) -> Http2Reply:
    """POST a body of any size; its last DATA frame ends the stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = ngh2.Connection(ngh2.Role.CLIENT)
    client.initiate_connection({})
    sent = [(":method", "POST"), (":scheme", "http"), (":authority", "model"), (":path", path)]
    fields = [(name.encode(), value.encode()) for name, value in [*sent, *headers.items()]]
    stream = client.send_request(fields, end_stream=False)
    client.send_data(stream, body, end_stream=True)
    reply = Http2Reply()
    try:
        async with asyncio.timeout(60):
            while True:
                writer.write(client.data_to_send(_MOST))
                if not (read := await reader.read(1 << 16)):
                    break
                client.receive_data(read)
                if _note(reply, client.events()):
                    break
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return reply


def _empty_data(stream: int) -> bytes:
    return bytes(5) + stream.to_bytes(4, "big")


def _note(reply: Http2Reply, events: Iterable[object]) -> bool:
    """Whether the answer is complete."""
    for event in events:
        match event:
            case ngh2.ResponseReceived():
                reply.headers = {name.decode(): value.decode() for name, value in event.headers}
                reply.status = int(reply.headers.pop(":status"))
            case ngh2.DataReceived():
                reply.body += event.data
            case ngh2.StreamClosed() | ngh2.StreamReset():
                return True
    return False
