"""HTTP/2 clients that break the protocol's rules at the real listener: the model sees nothing of a malformed request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from tests.integration.wire import raw_h2 as h2
from tests.integration.wire.raw_h2 import Answer, RawPeer, frame, literal
from tests.support.local_sidecar import LocalSidecar, enforced
from tests.support.raw_client import shed
from tests.support.raw_model import RawModel

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("sidecar")]

KEY = new_key()
BODY = b'{"text": "hello"}'
POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: frames}
spec:
  selector: {matchLabels: {app: frames}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: frames, protocol: json_fields, port: {model}}
  routes: [{path: /predict, inputText: [$.text], outputText: [$.echo]}]
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  input: [{sanitize: {}}]
  output: [{pii: {}}]
"""
Fields = list[tuple[bytes, bytes]]
GOOD: Fields = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/predict"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/json"),
    (b"x-api-key", KEY.encode()),
]


@dataclass(frozen=True, slots=True)
class House:
    sidecar: LocalSidecar
    model: RawModel

    async def connect(self) -> RawPeer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.sidecar.port)
        peer = RawPeer(reader, writer)
        await peer.send(h2.PREFACE, frame(h2.SETTINGS), frame(h2.SETTINGS, h2.ACK))
        return peer

    async def ask(self, fields: Fields, body: bytes = BODY) -> tuple[Answer, int]:
        """The answer of one stream, and how often the model was reached meanwhile."""
        before = len(self.model.received)
        peer = await self.connect()
        await peer.send(
            frame(h2.HEADERS, h2.END_HEADERS, 1, block(fields)), frame(h2.DATA, h2.END_STREAM, 1, body)
        )
        answer = await peer.answer(1)
        await peer.close()
        return answer, len(self.model.received) - before

    async def serves(self) -> bool:
        """Asks again where the answer came only of waiting."""
        for _ in range(20):
            asked = time.monotonic()
            answer, reached = await self.ask(GOOD)
            status = int(answer.headers.get(b":status", b"0"))
            if not shed(status, asked):
                break
        return status == 200 and reached == 1


@pytest.fixture(scope="module", name="house")
def _house() -> Iterator[House]:
    keys = KeySet(name="keys", version=1, keys=(KeyRecord(id="k", hash=key_hash(KEY), tenant="acme"),))
    model = RawModel()
    sidecar = LocalSidecar(POLICY, model.port, keys)
    try:
        sidecar.spawn()
        sidecar.until(lambda now: enforced(now, 1))
        yield House(sidecar, model)
    finally:
        sidecar.close()
        model.down()


def block(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


def without(name: bytes) -> Fields:
    return [field for field in GOOD if field[0] != name]


def instead(name: bytes, value: bytes) -> Fields:
    return [(name, value) if field[0] == name else field for field in GOOD]


def more(*fields: tuple[bytes, bytes]) -> Fields:
    return [*GOOD, *fields]


MALFORMED: dict[str, Fields] = {
    "two paths": [GOOD[0], GOOD[1], (b":path", b"/public"), *GOOD[2:]],
    "two methods": [(b":method", b"GET"), *GOOD],
    "two authorities": [(b":authority", b"evil.example"), *GOOD],
    "no method": without(b":method"),
    "no scheme": without(b":scheme"),
    "no path": without(b":path"),
    "an empty path": instead(b":path", b""),
    "a path without slash": instead(b":path", b"predict"),
    "a path with a space": instead(b":path", b"/predict HTTP/1.1"),
    "a method with a line break": instead(b":method", b"POST / HTTP/1.1\r\nx: y"),
    "a pseudo-header after the others": more((b":path", b"/predict")),
    "a pseudo-header of no known name": [(b":tenant", b"acme"), *GOOD],
    "a pseudo-header of answers": [(b":status", b"200"), *GOOD],
    "another protocol": [*instead(b":method", b"CONNECT")[:4], (b":protocol", b"websocket"), *GOOD[4:]],
    "CONNECT": [(b":method", b"CONNECT"), (b":authority", b"evil.example:443"), *GOOD[4:]],
    "an upper-case name": more((b"X-A", b"b")),
    "a name with a space": more((b"x a", b"b")),
    "a name with a colon": more((b"x-a:b", b"c")),
    "an empty name": more((b"", b"b")),
    "a name with an underscore": more((b"x_api_key", b"b")),
    "a value with a line break": more((b"x-a", b"b\r\nx-c: d")),
    "a value with a NUL": more((b"x-a", b"b\0c")),
    "connection": more((b"connection", b"x-api-key")),
    "keep-alive": more((b"keep-alive", b"timeout=5")),
    "proxy-connection": more((b"proxy-connection", b"keep-alive")),
    "transfer-encoding": more((b"transfer-encoding", b"chunked")),
    "upgrade": more((b"upgrade", b"websocket")),
    "te of something else": more((b"te", b"gzip")),
    "two lengths": more((b"content-length", b"17"), (b"content-length", b"3")),
    "too small a length": more((b"content-length", b"3")),
    "too large a length": more((b"content-length", b"18")),
    "a negative length": more((b"content-length", b"-1")),
}


async def test_a_good_request_reaches_the_model(house: House) -> None:
    assert await house.serves()


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_never_reaches_the_model(house: House, case: str) -> None:
    answer, reached = await house.ask(MALFORMED[case])
    status = answer.headers.get(b":status", b"")
    assert status != b"200", answer
    assert status or answer.reset is not None or not answer.ended, (
        "refused, or the stream or connection ended"
    )
    assert reached == 0
    assert not house.model.unreadable
    assert await house.serves()


@pytest.mark.parametrize(
    "fields", [more((b"host", b"evil.example")), more((b"te", b"trailers")), more((b"te", b"trailers, gzip"))]
)
async def test_headers_that_a_hop_must_settle_are_not_passed_on(house: House, fields: Fields) -> None:
    answer, reached = await house.ask(fields)
    arrived = house.model.received[-reached].head.lower() if reached else b""
    assert (answer.headers.get(b":status") == b"200") == bool(reached)
    assert b"evil.example" not in arrived
    assert b"gzip" not in arrived


FLOODS: dict[str, list[bytes]] = {
    "continuations that hold nothing": [
        frame(h2.HEADERS, 0, 1, block(GOOD)),
        *(frame(h2.CONTINUATION, 0, 1) for _ in range(5000)),
    ],
    "continuations without end": [
        frame(h2.HEADERS, 0, 1, block(GOOD)),
        *(frame(h2.CONTINUATION, 0, 1, literal(b"x-a", b"b" * 100) * 100) for _ in range(3000)),
    ],
    "empty frames of data": [
        frame(h2.HEADERS, h2.END_HEADERS, 1, block(GOOD)),
        *(frame(h2.DATA, 0, 1) for _ in range(20_000)),
    ],
    "streams that are reset at once": [
        frame(h2.HEADERS, h2.END_HEADERS, number, block(GOOD))
        + frame(h2.RST_STREAM, 0, number, (8).to_bytes(4, "big"))
        for number in range(1, 6001, 2)
    ],
    "pings": [frame(h2.PING, 0, 0, bytes(8))] * 50_000,
    "settings": [frame(h2.SETTINGS)] * 50_000,
    "priorities": [frame(h2.PRIORITY, 0, 3, bytes(5))] * 50_000,
}


@pytest.mark.parametrize("case", FLOODS)
async def test_a_flood_ends_its_connection_and_no_other(house: House, case: str) -> None:
    before = len(house.model.received)
    peer = await house.connect()
    await peer.send(*FLOODS[case])
    await peer.end()
    await peer.close()
    assert len(house.model.received) == before
    async with asyncio.timeout(60):
        while not await house.serves():  # its checks may still be behind
            await asyncio.sleep(0.05)
    await asyncio.to_thread(house.sidecar.until, lambda now: now["ready"])


async def test_too_large_headers_are_refused(house: House) -> None:
    before = len(house.model.received)
    peer = await house.connect()
    pieces = [literal(b"x-a", b"b" * 100) * 100 for _ in range(8)]
    await peer.send(
        frame(h2.HEADERS, 0, 1, block(GOOD)),
        *(frame(h2.CONTINUATION, 0, 1, piece) for piece in pieces[:-1]),
        frame(h2.CONTINUATION, h2.END_HEADERS, 1, pieces[-1]),
        frame(h2.DATA, h2.END_STREAM, 1, BODY),
    )
    answer = await peer.answer(1)
    await peer.close()
    assert answer.headers.get(b":status") in {None, b"431"}
    assert len(house.model.received) == before
    assert await house.serves()
