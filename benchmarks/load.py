"""A closed-loop HTTP/1.1 load generator on uvloop, run as its own process: python -m benchmarks.load SPEC. Used for
streams, single connections and wherever wrk is not installed (benchmarks/generators.py).

SPEC is JSON on standard input (see Spec); the result is JSON on standard output. Keep-alive, no retries. Closed loop
means that latencies under saturation suffer from coordinated omission: compare them between rows only.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import msgspec
import uvloop


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: `requests` limits the count, `seconds` the time, whichever comes first. `rate`: open loop only."""

    host: str
    port: int
    request: bytes
    connections: int
    seconds: float
    requests: int = 10_000_000
    warmup: float = 0.3
    rate: float = 0.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Counts by status, requests a second, latencies in milliseconds (to the last byte; first_* to the first)."""

    statuses: dict[str, int]
    seconds: float
    rps: float
    p50: float
    p99: float
    first_p50: float
    first_p99: float
    late_p99: float = 0.0
    """Open loop: how late the generator itself sent."""
    first: float = 0.0
    """The very first answer."""


def complete(answer: bytearray) -> bool:
    """Whether a whole answer is there: by content-length, or by its last chunk. Just enough for what we are told."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    headers = bytes(answer[:head]).lower()
    at = headers.find(b"content-length: ")
    if at >= 0:
        end = headers.find(b"\r", at)
        length = int(headers[at + 16 : end if end > 0 else len(headers)])
        return len(answer) >= head + 4 + length
    return answer.endswith(b"0\r\n\r\n")


class Connection(asyncio.Protocol):
    """One connection, one request at a time. Knows content-length and chunked bodies, just enough for this."""

    def __init__(self, spec: Spec, sink: list[tuple[int, float, float]], until: float) -> None:
        self._spec, self._sink, self._until = spec, sink, until
        self._buffer = bytearray()
        self._started = self._first = 0.0
        self._over = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._send()

    def _send(self) -> None:
        self._started, self._first = time.perf_counter(), 0.0
        self._buffer.clear()
        self._transport.write(self._spec.request)

    def data_received(self, data: bytes) -> None:
        if not self._first:
            self._first = time.perf_counter()
        self._buffer += data
        if not complete(self._buffer):
            return
        now = time.perf_counter()
        status = int(self._buffer[9:12])
        self._sink.append((status, now - self._started, self._first - self._started))
        if now >= self._until or len(self._sink) >= self._spec.requests:
            self._over = True
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._over:
            self._sink.append((0, 0.0, 0.0))
        if not self.done.done():
            self.done.set_result(None)


async def run(spec: Spec) -> Result:
    """Warm up, then measure."""
    if spec.warmup:
        await _round(msgspec.structs.replace(spec, seconds=spec.warmup))
    started = time.perf_counter()
    samples = await _round(spec)
    took = time.perf_counter() - started
    statuses: dict[str, int] = {}
    for status, _, _ in samples:
        statuses[str(status)] = statuses.get(str(status), 0) + 1
    good = [sample for sample in samples if sample[0]]
    last, first = sorted(s[1] for s in good), sorted(s[2] for s in good)
    return Result(
        statuses=statuses,
        seconds=took,
        rps=len(good) / took,
        p50=percentile(last, 50),
        p99=percentile(last, 99),
        first_p50=percentile(first, 50),
        first_p99=percentile(first, 99),
        first=samples[0][1] * 1000 if samples else 0.0,
    )


async def _round(spec: Spec) -> list[tuple[int, float, float]]:
    sink: list[tuple[int, float, float]] = []
    until = time.perf_counter() + spec.seconds
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(spec, sink, until), spec.host, spec.port)
        for _ in range(spec.connections)
    ]
    async with asyncio.timeout(2 * spec.seconds + 60):  # other work may stop it for long
        await asyncio.gather(*(protocol.done for _, protocol in made))
    return sink


def percentile(values: list[float], percent: int) -> float:
    if not values:
        return 0.0
    return values[min(len(values) - 1, len(values) * percent // 100)] * 1000


if __name__ == "__main__":
    outcome = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Spec)))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
