"""What a guard worker costs by itself: the real process, without Envoy. python -m benchmarks.guard_alone [WORD …]

It is started and told its plan as an agent does, audited, measured and traced as shipped; a client in Envoy's place
(benchmarks/envoy_calls.py) sends it N calls in one write. CPU is the worker process's own. `--against DIR` starts a second
worker from another checkout (with its generated protos) and plays to both in turn: only such pairs compare well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bartizan.policy.bundle import GuardPlan
from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from bartizan.policy.validate import validate_document
from bartizan.tasks import Swarm
from benchmarks import upstream
from benchmarks.cases import DETECTORS, OUTPUT, Case, prose
from benchmarks.envoy_calls import Caller, Exchanged, check
from control_plane.compile.bundle import compile_bundle
from sidecar.agent.messages import AgentMessage, Configure, Listen, Load, SetKeys
from sidecar.agent.worker import Worker

ROUNDS = 7
KEY = new_key()
_EVENTS = [each.split(b"\r\n", 1)[1].removesuffix(b"\r\n") for each in upstream.EVENTS]
_PROMPT = {"model": "bench", "messages": [{"role": "user", "content": "hi"}], "stream": True}
_BODY = json.dumps(_PROMPT).encode()
_SSE = "text/event-stream"
Play = Callable[[Caller, str], Awaitable[int]]
"""Plays calls to the plan of this id; returns how many units they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One row: a policy's checks, and what is played; `unit` is what `play` counts."""

    name: str
    unit: str
    checks: dict[str, Any]
    play: Play


def checks_of(at_once: int, *, content: bool = False) -> Play:
    """ext_authz: API key, CEL rule, rate limit."""

    async def play(caller: Caller, revision: str) -> int:
        count = 1600 // at_once
        for _ in range(count):
            for _ in range(at_once):
                caller.check(check(revision, KEY, content=content))
            await caller.ended()
        return count * at_once

    return play


def _counted(number: int, event: bytes) -> bytes:
    """The event of an engine that says the time and the tokens so far in each."""
    value = json.loads(event.removeprefix(b"data: "))
    count = {"prompt_tokens": 9, "completion_tokens": number, "total_tokens": number + 9}
    said = json.dumps({**value, "created": 1_764_500_000 + number, "usage": count}, separators=(",", ":"))
    return b"data: " + said.encode() + b"\n\n"


def _padded(number: int, event: bytes) -> bytes:
    """The event of an engine that pads each, by other signs each time."""
    said = hashlib.sha256(b"%d" % number).hexdigest()[: 2 + number % 14].translate(_LETTERS)
    return event.removesuffix(b"}\n\n") + b', "obfuscation": "%s"}\n\n' % said.encode()


def _of_two(number: int, event: bytes) -> bytes:
    """The same of two answers to one prompt, in turn."""
    return event.replace(b'"index": 0', b'"index": %d' % (number % 2))


def streams_of(
    at_once: int, *, content_type: str, chunks: int, events: Sequence[bytes] = tuple(_EVENTS)
) -> Play:
    """ext_proc: requests, then their streamed answers, a chunk of each in one write."""

    async def play(caller: Caller, revision: str) -> int:
        rounds = max(1, 1600 // (at_once * max(chunks, 4)))
        for _ in range(rounds):
            said = [Exchanged(revision) for _ in range(at_once)]
            asked = [each.request(_BODY) for each in said]
            numbers = [caller.process(headers) for headers, _ in asked]
            await caller.flush()
            for number, (_, body) in zip(numbers, asked, strict=True):
                caller.say(number, body)
            await caller.flush()
            if chunks:
                for number, each in zip(numbers, said, strict=True):
                    caller.say(number, each.answer(content_type))
                await caller.flush()
            for at in range(chunks):
                for number, each in zip(numbers, said, strict=True):
                    caller.say(number, each.piece(events[at % len(events)]))
                await caller.flush()
            for number, each in zip(numbers, said, strict=True):
                if chunks:
                    caller.say(number, each.piece(b"data: [DONE]\n\n", end=True))
                caller.end([number])
            await caller.ended()
        return rounds * at_once * max(chunks, 1)

    return play


def prompts_of(at_once: int, *, size: int) -> Play:
    """ext_proc: requests with a prompt of so many bytes, their bodies in one write."""
    document = {"model": "bench", "messages": [{"role": "user", "content": prose(size)}]}
    body = json.dumps(document, separators=(",", ":")).encode()

    async def play(caller: Caller, revision: str) -> int:
        rounds = max(1, 400_000 // (size * at_once))
        for _ in range(rounds):
            asked = [Exchanged(revision).request(body) for _ in range(at_once)]
            numbers = [caller.process(headers) for headers, _ in asked]
            await caller.flush()
            for number, (_, body_said) in zip(numbers, asked, strict=True):
                caller.say(number, body_said)
                caller.end([number])
            await caller.ended()
        return rounds * at_once

    return play


_NOTHING: dict[str, Any] = {"output": [{"canary": {"tokens": ["canary-0123456789"]}}]}
_SHADOW = {**_NOTHING, "mode": "shadow"}
_OUTPUT = {"output": OUTPUT}
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
_COUNTED = tuple(_counted(*each) for each in enumerate(_EVENTS))
_PADDED = tuple(_padded(*each) for each in enumerate(_EVENTS * 4))
_TWO = tuple(_of_two(*each) for each in enumerate(_EVENTS))
PARTS = (
    Part(name="check_1", unit="call", checks={}, play=checks_of(1)),
    Part(name="check_8", unit="call", checks={}, play=checks_of(8)),
    Part(name="check_32", unit="call", checks={}, play=checks_of(32)),
    Part(name="check_content_8", unit="call", checks=_NOTHING, play=checks_of(8, content=True)),
    Part(name="request_8", unit="stream", checks={"input": [{"pii": {"types": ["email"]}}]}, play=streams_of(8, content_type="", chunks=0)),
    Part(name="request_answer_8", unit="stream", checks=_NOTHING, play=streams_of(8, content_type=_SSE, chunks=1)),
    Part(name="prompt_1k_8", unit="request", checks={"input": DETECTORS}, play=prompts_of(8, size=900)),
    Part(name="prompt_16k_8", unit="request", checks={"input": DETECTORS}, play=prompts_of(8, size=16_000)),
    Part(name="prompt_220k_1", unit="request", checks={"input": DETECTORS}, play=prompts_of(1, size=220_000)),
    Part(name="prompt_220k_20", unit="request", checks={"input": DETECTORS}, play=prompts_of(20, size=220_000)),
    Part(name="chunk_passed_8", unit="chunk", checks=_SHADOW, play=streams_of(8, content_type="text/html", chunks=200)),
    Part(name="chunk_canary_8", unit="chunk", checks=_NOTHING, play=streams_of(8, content_type=_SSE, chunks=200)),
    Part(name="chunk_all_8", unit="chunk", checks=_OUTPUT, play=streams_of(8, content_type=_SSE, chunks=200)),
    Part(name="chunk_counted_8", unit="chunk", checks=_OUTPUT, play=streams_of(8, content_type=_SSE, chunks=200, events=_COUNTED)),
    Part(name="chunk_padded_8", unit="chunk", checks=_OUTPUT, play=streams_of(8, content_type=_SSE, chunks=200, events=_PADDED)),
    Part(name="chunk_two_8", unit="chunk", checks=_OUTPUT, play=streams_of(8, content_type=_SSE, chunks=200, events=_TWO)),
    Part(name="chunk_all_1", unit="chunk", checks=_OUTPUT, play=streams_of(1, content_type=_SSE, chunks=400)),
)  # fmt: skip


def plan_of(part: Part) -> GuardPlan:
    document = Case(path=part.name, checks=part.checks).policy(10_000, 10_001)
    bundle = compile_bundle(
        validate_document(document), revision=1, version=1, issued_at="2026-01-01T00:00:00Z"
    )
    return bundle.plan


@contextlib.asynccontextmanager
async def running(plan: GuardPlan, checkout: str) -> AsyncIterator[tuple[Worker, Path]]:
    """A worker with this plan and one key, ready for calls; its records and spans are taken and dropped. `checkout`: the
    folder that its code is taken from, "" for this one.
    """
    with tempfile.TemporaryDirectory(prefix="bzb") as folder:
        socket = Path(folder) / "guard-0.sock"
        record = KeyRecord(id="bench", hash=key_hash(KEY), tenant="acme")
        state: list[AgentMessage] = [
            Configure(instance_id="bench", worker=0, workers=1, probe_key=bytes(32), traces=True),
            SetKeys(key_set=KeySet(name="bench", version=1, keys=(record,))),
            Load(plan=plan),
            Listen(),
        ]
        changed = asyncio.Event()
        elsewhere = {"PYTHONSAFEPATH": "1", "PYTHONPATH": checkout} if checkout else {}
        environment = {"BARTIZAN_LOG_LEVEL": "error", **elsewhere}
        worker = Worker(0, socket, environment, changed.set, lambda _records: None, lambda _spans: None)
        swarm = Swarm()
        swarm.start(worker.run(lambda: state), name="worker", context=None)
        try:
            async with asyncio.timeout(60):
                while not (worker.listening and plan.id in worker.loaded):
                    changed.clear()
                    await changed.wait()
            yield worker, socket
        finally:
            await swarm.close(0)


def cpu_clock(pid: int) -> Callable[[], float]:
    """Seconds of processor time of a process; Linux makes such a clock's number so."""
    number = (~pid << 3) | 2
    return lambda: time.clock_gettime(number)


@dataclass(frozen=True, slots=True)
class Guard:
    """A running worker and a connection to it."""

    caller: Caller
    cpu: Callable[[], float]

    async def play(self, part: Part, revision: str) -> float:
        """Microseconds of one unit."""
        began = self.cpu()
        count = await part.play(self.caller, revision)
        return (self.cpu() - began) / count * 1e6


async def measure(part: Part, checkouts: list[str]) -> list[list[float]]:
    """Microseconds of one unit in every round, for each checkout."""
    plan = plan_of(part)
    async with contextlib.AsyncExitStack() as stack:
        guards: list[Guard] = []
        for checkout in checkouts:
            worker, socket = await stack.enter_async_context(running(plan, checkout))
            assert worker.pid is not None
            guards.append(Guard(await Caller.connect(socket), cpu_clock(worker.pid)))
        for guard in guards:
            await guard.play(part, plan.id)
        rounds = [[await guard.play(part, plan.id) for guard in guards] for _ in range(ROUNDS)]
        if failed := sum(guard.caller.failed for guard in guards):
            raise SystemExit(f"{part.name}: {failed} calls failed")
    return [list(each) for each in zip(*rounds, strict=True)]


async def main(words: list[str], against: str) -> None:
    """Measure and print the rows whose name contains one of the words."""
    for part in PARTS:
        if words and not any(word in part.name for word in words):
            continue
        ours, *other = await measure(part, ["", against] if against else [""])
        line = f"{part.name:18} {statistics.median(ours):7.1f} us a {part.unit}, least {min(ours):.1f}"
        for theirs in other:
            ratio = statistics.median(one / two for one, two in zip(ours, theirs, strict=True))
            line += f"; there {statistics.median(theirs):7.1f}, least {min(theirs):.1f}; ratio {ratio:.2f}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard_alone")
    parser.add_argument("words", nargs="*", help="only rows whose name contains one of these")
    parser.add_argument("--against", default="", metavar="DIR", help="another checkout to compare with")
    arguments = parser.parse_args()
    uvloop.run(main(arguments.words, arguments.against))
