"""An open-loop generator, run as its own process: python -m benchmarks.open_loop SPEC (see load.Spec, with `rate`).

Requests are due at fixed times, whatever the answers do. Latency counts from the due time, so a stall counts for every
request that had to wait behind it (no coordinated omission). select() wakes with microseconds, where epoll rounds up to
the next millisecond.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque

import msgspec

from benchmarks.load import Result, Spec, complete, percentile


class _Connection:
    def __init__(self, spec: Spec) -> None:
        self.socket = socket.create_connection((spec.host, spec.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.due = self.first = 0.0


def run(spec: Spec) -> Result:
    """Send `rate` requests a second for `seconds`, over at most `connections` connections."""
    free = deque(_Connection(spec) for _ in range(spec.connections))
    busy: dict[socket.socket, _Connection] = {}
    waiting: deque[float] = deque()
    last: list[float] = []
    first: list[float] = []
    late: list[float] = []
    statuses: dict[str, int] = {}
    total = max(1, int(spec.rate * spec.seconds))
    started = time.perf_counter() + 0.01
    made = 0
    while made < total or waiting or busy:
        now = time.perf_counter()
        while made < total and now >= started + made / spec.rate:
            waiting.append(started + made / spec.rate)
            made += 1
        while waiting and free:
            connection = free.popleft()
            connection.due = waiting.popleft()
            late.append(time.perf_counter() - connection.due)
            connection.socket.sendall(spec.request)
            busy[connection.socket] = connection
        due = started + made / spec.rate - time.perf_counter() if made < total else 5.0
        readable, _, _ = select.select(list(busy), [], [], max(0.0, min(due, 5.0)))
        if not readable and made >= total and time.perf_counter() > started + spec.seconds + 30:
            break  # what never came counts below
        for ready in readable:
            connection = busy[ready]
            data = ready.recv(1 << 18)
            moment = time.perf_counter()
            if not connection.buffer:
                connection.first = moment
            connection.buffer += data
            if data and not complete(connection.buffer):
                continue
            status = connection.buffer[9:12].decode() if data else "0"
            statuses[status] = statuses.get(status, 0) + 1
            last.append(moment - connection.due)
            first.append(connection.first - connection.due)
            del busy[ready]
            connection.buffer.clear()
            if data:
                free.append(connection)
            else:
                free.append(_Connection(spec))
    if busy or waiting:
        statuses["0"] = statuses.get("0", 0) + len(busy) + len(waiting)
    took = time.perf_counter() - started
    last.sort()
    first.sort()
    late.sort()
    return Result(
        statuses=statuses,
        seconds=took,
        rps=len(last) / took,
        p50=percentile(last, 50),
        p99=percentile(last, 99),
        first_p50=percentile(first, 50),
        first_p99=percentile(first, 99),
        late_p99=percentile(late, 99),
    )


if __name__ == "__main__":
    outcome = run(msgspec.json.decode(sys.stdin.buffer.read(), type=Spec))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
