"""Envoy's calls to a guard, as Envoy 1.40 makes them, without Envoy: the messages, and an HTTP/2 client that sends many
in one write. Used by benchmarks/guard_alone.py.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ngh2

from bartizan.policy import names
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2 as proc
from sidecar.model.request import REQUEST_ID, Identity
from sidecar.wire import ext_authz, ext_proc
from sidecar.wire.grpc_frames import frame
from sidecar.wire.translate_check import Handed, hand_on

PATH = "/v1/chat/completions"
_SAMPLED_EVERY = 10
_WINDOW = 1 << 28
_FIELDS = {
    ":authority": "127.0.0.1:10000",
    ":scheme": "http",
    "content-type": "application/json",
    "content-length": "981",
    "user-agent": "bench",
    "accept": "*/*",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-envoy-external-address": "127.0.0.1",
}
_numbers = itertools.count(10**18)


def check(revision: str, key: str, *, content: bool = False) -> bytes:
    """A question to ext_authz. No two are of one stream: a repeated one would be charged once."""
    message = CheckRequest()
    http = message.attributes.request.http
    http.id, http.method, http.path, http.host = str(next(_numbers)), "POST", PATH, "127.0.0.1:10000"
    http.scheme, http.protocol = "http", "HTTP/1.1"
    told = {**_FIELDS, REQUEST_ID: str(uuid.uuid4()), "x-api-key": key}
    for name in names.CHECKED_HEADERS:
        if name in told:
            http.headers[name] = told[name]
    for peer in (message.attributes.source, message.attributes.destination):
        peer.address.socket_address.address, peer.address.socket_address.port_value = "127.0.0.1", 41234
    message.attributes.request.time.GetCurrentTime()
    message.attributes.context_extensions[names.REVISION] = revision
    message.attributes.context_extensions[names.TRACE] = str(names.TRACE_STEPS // _SAMPLED_EVERY)
    if content:
        message.attributes.context_extensions[names.CONTENT] = "1"
    return message.SerializeToString()


class Exchanged:
    """The messages of one ext_proc stream. What ext_authz said comes with each of them."""

    def __init__(self, revision: str) -> None:
        self._revision = revision
        self._handed = proc.ProcessingRequest()
        identity = Identity(subject="bench", tenant="acme", method="api_key", key_id="bench")
        handed = Handed(
            decision_id=secrets.token_hex(16),
            revision=revision,
            source_address="127.0.0.1",
            identity=identity,
            traced=next(_numbers) % _SAMPLED_EVERY == 0,
        )
        self._handed.metadata_context.filter_metadata[names.AUTHZ_METADATA].update(
            {"ext_authz_duration": 4, **hand_on(handed)}
        )

    def request(self, body: bytes) -> tuple[bytes, bytes]:
        """Headers, then the buffered body."""
        first = proc.ProcessingRequest()
        first.CopyFrom(self._handed)
        drawn = {REQUEST_ID: str(uuid.uuid4())}
        for name, value in {**_FIELDS, ":method": "POST", ":path": PATH, **drawn}.items():
            first.request_headers.headers.headers.add(key=name, raw_value=value.encode())
        first.attributes["envoy.filters.http.ext_proc"].update(
            {"source.address": "127.0.0.1:41234", names.PROC_REVISION_ATTRIBUTE: self._revision}
        )
        second = proc.ProcessingRequest(request_body=proc.HttpBody(body=body, end_of_stream=True))
        return first.SerializeToString(), self._said(second)

    def answer(self, content_type: str) -> bytes:
        """The answer's headers."""
        message = proc.ProcessingRequest()
        for name, value in ((":status", "200"), ("content-type", content_type)):
            message.response_headers.headers.headers.add(key=name, raw_value=value.encode())
        return self._said(message)

    def piece(self, data: bytes, *, end: bool = False) -> bytes:
        """A piece of the answer."""
        return self._said(proc.ProcessingRequest(response_body=proc.HttpBody(body=data, end_of_stream=end)))

    def _said(self, message: proc.ProcessingRequest) -> bytes:
        message.MergeFrom(self._handed)
        return message.SerializeToString()


class Caller(asyncio.Protocol):
    """One connection of Envoy. What is queued goes out in one write; answers are counted, and kept by stream."""

    def __init__(self) -> None:
        self._wire = ngh2.Connection(ngh2.Role.CLIENT)
        self._wire.initiate_connection({ngh2.Setting.INITIAL_WINDOW_SIZE: _WINDOW})
        self._wire.set_local_window_size(_WINDOW)
        self._transport: Any = None
        self._queued = b""
        self._pong = asyncio.Event()
        self._ended = asyncio.Event()
        self.open = 0
        self.failed = 0
        self.said: dict[int, bytearray] = {}

    @classmethod
    async def connect(cls, socket: Path) -> Caller:
        _, caller = await asyncio.get_running_loop().create_unix_connection(cls, str(socket))
        await caller.flush()
        return caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        for event in self._wire.events():
            match event:
                case ngh2.DataReceived(stream_id=number, data=data):
                    self.said[number] += data
                case ngh2.PingAcknowledged():
                    self._pong.set()
                case ngh2.TrailersReceived(headers=headers) | ngh2.ResponseReceived(headers=headers):
                    self.failed += dict(headers).get(b"grpc-status", b"0") != b"0"
                case ngh2.StreamClosed():
                    self.open -= 1
                    if not self.open:
                        self._ended.set()

    def call(self, method: str, *messages: bytes, end: bool = False) -> int:
        """Open a call; sent with the next `flush`."""
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode()),
            (b":authority", b"guard"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"x-envoy-expected-rq-timeout-ms", b"1000"),
        ]
        if method == ext_authz.METHOD:
            headers.insert(6, (b"grpc-timeout", b"2000m"))
        number = self._wire.send_request(headers)
        self.open += 1
        self.said[number] = bytearray()
        for message in messages:
            self.say(number, message)
        if end:
            self._wire.end_stream(number)
        return number

    def check(self, message: bytes) -> int:
        """A whole ext_authz call."""
        number = self.call(ext_authz.METHOD)
        self._wire.send_data(number, frame(message), end_stream=True)
        self._queued += self._wire.data_to_send()  # Envoy's frames of one call follow each other
        return number

    def process(self, message: bytes) -> int:
        """Open an ext_proc stream."""
        return self.call(ext_proc.METHOD, message)

    def say(self, number: int, message: bytes) -> None:
        self._wire.send_data(number, frame(message))

    def end(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._wire.end_stream(number)

    def queued(self) -> bytes:
        """What is to be sent, once."""
        sent, self._queued = self._queued + self._wire.data_to_send(), b""
        return sent

    async def flush(self) -> None:
        """Send what is queued, and wait until the guard has read it."""
        self._pong.clear()
        self._wire.ping()
        self._transport.write(self.queued())
        await self._pong.wait()

    async def ended(self) -> None:
        """Send what is queued, and wait until no call is open."""
        self._ended.clear()
        self._transport.write(self.queued())
        await self._ended.wait()
