"""The same calls as benchmarks/guard_alone.py in one process without sockets: what the guard's own Python costs.

python -m benchmarks.guard_inside [WORD …] [--against DIR | --calls | --steps]. A real HTTP/2 client's bytes go into the engine's
protocol, and only what the engine does with them is counted: processor time of this thread. `--against` runs this checkout and
another (which needs its generated protos/gen) in turn, each time in a new process: only such pairs compare on a machine whose
speed changes by the minute. `--calls` and `--steps` count function calls and steps of Python's interpreter instead, which do
not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

from bartizan.policy.keyset import KeyRecord, KeySet, key_hash
from bartizan.tasks import Swarm
from benchmarks.envoy_calls import Caller
from benchmarks.guard_alone import KEY, PARTS, ROUNDS, Part, plan_of
from benchmarks.steps import Steps
from sidecar.audit.queue import AuditQueue
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.current import Current
from sidecar.plan.load import load_plan
from sidecar.wire import ext_authz, ext_proc
from sidecar.wire.engine_http2 import MAX_CALLS, MAX_HELD, MAX_MESSAGE
from sidecar.wire.grpc_call import Budget, Method
from sidecar.wire.http2_protocol import Http2Protocol
from sidecar.wire.http2_session import Http2Session
from sidecar.wire.running import Server
from sidecar.wire.trace import DecisionSpans, Spans

_PROFILED = 2
_TURNS = 3
"""Of the loop after one read: handlers are woken, answer, and their answers are written."""


class _Meter:
    """Counts what runs between `start` and `stop`: seconds of this thread, or what a profile counts when there is one."""

    def __init__(self, profile: cProfile.Profile | Steps | None) -> None:
        self._profile = profile
        self.seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        if self._profile is not None:
            self._profile.enable()
        self._began = time.thread_time()

    def stop(self) -> None:
        self.seconds += time.thread_time() - self._began
        if self._profile is not None:
            self._profile.disable()


class _Line(asyncio.Transport):
    """What the engine writes goes to the other end at once."""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        super().__init__()
        self._deliver = deliver

    def write(self, data: Any) -> None:
        self._deliver(bytes(data))

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It never fills."""


class _InsideCaller(Caller):
    """Envoy's end, joined to the engine without a socket."""

    def __init__(self, engine: Http2Protocol, server: Server, meter: _Meter) -> None:
        super().__init__()
        self._engine = engine
        self._server = server
        self.meter = meter
        self._written: list[bytes] = []
        engine.connection_made(_Line(self._written.append))

    async def flush(self) -> None:
        await self._play()

    async def ended(self) -> None:
        await self._play()
        while self.open:
            await self._play()

    async def close(self) -> None:
        await self._server.swarm.close(0)

    async def _play(self) -> None:
        """One write of Envoy's, and what the engine makes of it."""
        data = self.queued()
        meter = self.meter
        meter.start()
        if data:
            self._engine.data_received(data)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        meter.stop()
        for each in self._written:
            self.data_received(each)
        self._written.clear()


async def _caller(part: Part, meter: _Meter) -> tuple[_InsideCaller, str]:
    """A guard with this part's plan, as a worker puts it together, and a caller of it."""
    plan = plan_of(part)
    current = Current()
    current.configure(instance_id="bench", probe_key=bytes(32))
    record = KeyRecord(id="bench", hash=key_hash(KEY), tenant="acme")
    current.set_keys(KeySet(name="bench", version=1, keys=(record,)))
    current.put_plan(load_plan(plan, Buckets(clock=time.monotonic)))
    exported: list[DecisionSpans] = []
    spans = Spans(export=exported.append)

    async def send(_batch: object) -> None:
        exported.clear()

    queue = AuditQueue(send=send, clock=time.time, instance_id=lambda: "bench")
    swarm = Swarm()
    swarm.start(queue.run(), name="audit", context=None)
    check = ext_authz.ExtAuthz(current=current, audit=queue.put, spans=spans)
    process = ext_proc.ExtProc(current=current, audit=queue.put, spans=spans)
    server = Server(
        sessions=Http2Session,
        max_message=MAX_MESSAGE,
        max_calls=MAX_CALLS,
        max_connections=1,
        budget=Budget(MAX_HELD),
        swarm=swarm,
        methods={
            ext_authz.METHOD.encode(): Method(name=ext_authz.METHOD, unary=True, handler=check),
            ext_proc.METHOD.encode(): Method(name=ext_proc.METHOD, unary=False, handler=process),
        },
    )
    caller = _InsideCaller(Http2Protocol(server), server, meter)
    await caller.flush()
    return caller, plan.id


async def measure(part: Part, profile: cProfile.Profile | Steps | None) -> tuple[list[float], int]:
    """Microseconds of one unit in every round, and how many units a round has."""
    meter = _Meter(None)
    caller, revision = await _caller(part, meter)
    await part.play(cast("Caller", caller), revision)
    meter = caller.meter = _Meter(profile)
    rounds: list[float] = []
    count = 0
    for _ in range(ROUNDS if profile is None else _PROFILED):
        before = meter.seconds
        count = await part.play(cast("Caller", caller), revision)
        rounds.append((meter.seconds - before) / count * 1e6)
    await caller.close()
    if caller.failed:
        raise SystemExit(f"{part.name}: {caller.failed} calls failed")
    return rounds, count


def _chosen(words: list[str]) -> list[Part]:
    return [part for part in PARTS if not words or any(word in part.name for word in words)]


async def once(words: list[str]) -> dict[str, float]:
    """The least microseconds of one unit over all rounds, by row."""
    return {part.name: min((await measure(part, None))[0]) for part in _chosen(words)}


async def calls(words: list[str]) -> None:
    """Print the calls that one unit makes, and in which functions most time is."""
    for part in _chosen(words):
        profile = cProfile.Profile()
        _, count = await measure(part, profile)
        stats = pstats.Stats(profile, stream=sys.stdout)
        made = stats.total_calls / count / _PROFILED  # type: ignore[attr-defined]
        sys.stdout.write(f"{part.name}: {made:.1f} calls a {part.unit}\n")
        stats.sort_stats("tottime").print_stats(40)


async def steps(words: list[str]) -> None:
    """Print the steps of Python's interpreter that one unit takes, and which functions take most."""
    for part in _chosen(words):
        profile = Steps()
        _, count = await measure(part, profile)
        sys.stdout.write(f"{part.name}, a {part.unit}: {profile.table(count * _PROFILED)}")


def compare(words: list[str], checkouts: list[str]) -> None:
    """Play the rows to each checkout in turn, and print medians of what each took, and of the ratios of pairs."""
    rounds: list[list[dict[str, float]]] = []
    for _ in range(ROUNDS):
        rounds.append([])
        for checkout in checkouts:
            command = [sys.executable, "-P", __file__, *words, "--once"]
            environment = {**os.environ, **({"PYTHONPATH": checkout} if checkout else {})}
            said = subprocess.run(command, env=environment, check=True, capture_output=True)
            rounds[-1].append(json.loads(said.stdout))
    for part in _chosen(words):
        taken = [[each[part.name] for each in one] for one in rounds]
        columns = [f"{statistics.median(column):7.1f}" for column in zip(*taken, strict=True)]
        line = f"{part.name:18} {columns[0]} us a {part.unit}"
        if len(checkouts) > 1:
            ratio = statistics.median(ours / theirs for ours, theirs in taken)
            line += f"; there {columns[1]}; ratio {ratio:.2f}"
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard_inside")
    parser.add_argument("words", nargs="*", help="only rows whose name contains one of these")
    parser.add_argument("--against", default="", metavar="DIR", help="another checkout to compare with")
    parser.add_argument("--calls", action="store_true", help="calls and functions instead of microseconds")
    parser.add_argument(
        "--steps", action="store_true", help="steps of the interpreter instead of microseconds"
    )
    parser.add_argument("--once", action="store_true", help="one process's figures as JSON")
    arguments = parser.parse_args()
    if arguments.calls:
        uvloop.run(calls(arguments.words))
    elif arguments.steps:
        uvloop.run(steps(arguments.words))
    elif arguments.once:
        sys.stdout.write(json.dumps(uvloop.run(once(arguments.words))))
    else:
        compare(arguments.words, ["", arguments.against] if arguments.against else [""])
