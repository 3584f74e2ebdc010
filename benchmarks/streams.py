"""streams_2000: many long answers open at once, each inspected as it flows; none may fail or end early.

Opened a few at a time, as a burst would rightly be shed; one that is shed (503) comes again after Retry-After, as a
client would. When all are open they run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from typing import Any

from benchmarks.cases import STREAMS
from benchmarks.meter import cpu_seconds, open_files, rss_mb
from benchmarks.stage import Front, front

COUNT = 2000
PAUSE_MS = 1000
_AT_ONCE = 16
_TRIES = 30
_PATIENCE = 120.0


async def measure_streams(seconds: int) -> dict[str, Any]:
    """`seconds`: how long all are open together."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 3 * COUNT:
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(3 * COUNT, hard), hard))
    async with front(STREAMS) as running:
        return await _measure(running, seconds)


async def _measure(running: Front, seconds: int) -> dict[str, Any]:
    # An answer lasts for as long as the slowest opening may take, and then `seconds` together.
    events = 300 + seconds
    request = STREAMS.request(running.port, running.credential, user=f"stream {events} {PAUSE_MS}")
    gate = asyncio.Semaphore(_AT_ONCE)
    writers: list[asyncio.StreamWriter] = []
    failed: list[str] = []
    shed: list[str] = []

    async def begin() -> asyncio.StreamReader | None:
        for _ in range(_TRIES):
            async with gate:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                        writers.append(writer)
                        writer.write(request)
                        status = (await reader.readline())[9:12].decode()
                        if status == "200":
                            await reader.readuntil(b"\r\n\r\n")
                            return reader
                        writer.close()
                except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                    status = type(error).__name__
            if status != "503":
                break
            shed.append(status)
            await asyncio.sleep(1.0)
        failed.append(status)
        return None

    began = time.perf_counter()
    readers = [each for each in await asyncio.gather(*(begin() for _ in range(COUNT))) if each is not None]
    opened = time.perf_counter() - began
    before = {role: cpu_seconds(pid) for role, pid in running.pids.items()}
    counted = [0]
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(_drain(reader, time.perf_counter() + seconds, counted, failed))
    used = {role: cpu_seconds(pid) - before[role] for role, pid in running.pids.items()}
    row: dict[str, Any] = {
        "path": STREAMS.path,
        "streams": COUNT,
        "open_together": len(readers),
        "failed": len(failed),
        "failures": sorted(set(failed)),
        "shed": len(shed),
        "opened_s": round(opened, 2),
        "chunks": counted[0],
    }
    row |= {
        f"{role}_cpu_us_per_chunk": round(spent / max(1, counted[0]) * 1e6, 1) for role, spent in used.items()
    }
    row |= {f"{role}_rss_mb": round(rss_mb(pid), 1) for role, pid in running.pids.items()}
    row |= {f"{role}_open_files": open_files(pid) for role, pid in running.pids.items()}
    for writer in writers:
        writer.transport.abort()
    return row


async def _drain(reader: asyncio.StreamReader, until: float, counted: list[int], failed: list[str]) -> None:
    """Read on until the time is over; the end of a stream before that is a failure."""
    try:
        async with asyncio.timeout(until - time.perf_counter()):
            while data := await reader.read(1 << 16):
                counted[0] += data.count(b"data: ")
            failed.append("ended early")
    except TimeoutError:
        return
    except OSError as error:
        failed.append(type(error).__name__)
