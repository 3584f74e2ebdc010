"""Measures: every front is started once, then rounds are interleaved over all cases, and medians are taken.

So a noisy minute does not fall on one row, and every figure has its neighbours of the same minute.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks import generators
from benchmarks.cases import Case
from benchmarks.load import Result, Spec
from benchmarks.meter import cpu_seconds, rss_mb, together_mb
from benchmarks.stage import Front, Skipped, find_again, front
from benchmarks.upstream import CHUNKS

COLD_REQUESTS = 50
MOST_WRONG = 0.01
"""Of the answers of one measurement; above it the round counts as failed. A guard that sheds answers faster."""
IDLE_SECONDS = 5.0
ADDED = ("p50_ms", "p99_ms", "first_p50_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Seconds of each measurement, and how many rounds."""

    rounds: int
    saturated: float
    single: float
    open: float
    pushes: int
    streams: int


QUICK = Length(rounds=3, saturated=2, single=1, open=1.5, pushes=20, streams=8)
FULL = Length(rounds=7, saturated=6, single=3, open=5, pushes=100, streams=30)

Row = dict[str, Any]


async def run(cases: Sequence[Case], length: Length) -> list[Row]:
    """All rounds of all cases: one row each, in their order."""
    seen: dict[str, list[dict[str, float]]] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, list[str]] = {}
    cold: dict[str, dict[str, float]] = {}
    async with AsyncExitStack() as stack:
        fronts: dict[str, Front] = {}
        for case in cases:
            try:
                if case.front_key not in fronts:
                    fronts[case.front_key] = await stack.enter_async_context(front(case))
                cold[case.path] = await _cold(case, fronts[case.front_key])
            except (Skipped, Failed, generators.GeneratorFailed) as reason:
                skipped[case.path] = str(reason)
                _say(f"{case.path}: skipped, {reason}")
        measured = [case for case in cases if case.path not in skipped]
        idle = await _idle({name: each for name, each in fronts.items() if "agent" in each.pids})
        for number in range(length.rounds):
            for case in measured:
                running = fronts[case.front_key]
                try:
                    row = await _measure(case, running, length)
                except (Failed, generators.GeneratorFailed, FileNotFoundError) as reason:
                    failed.setdefault(case.path, []).append(str(reason))
                    _say(f"round {number + 1}: {case.path}: failed, {reason}")
                else:
                    seen.setdefault(case.path, []).append(row)
                    _say(f"round {number + 1}: {case.path}: {row['rps']:.0f} requests/s")
    medians = {
        path: {name: statistics.median(row[name] for row in rounds) for name in rounds[0]} | cold[path]
        for path, rounds in seen.items()
    }
    return [*rows_of(cases, medians, skipped, failed), _start(fronts, idle)]


def rows_of(
    cases: Sequence[Case],
    medians: dict[str, dict[str, float]],
    skipped: dict[str, str],
    failed: dict[str, list[str]],
) -> list[Row]:
    """A row for each case, with the rounds that do not count; one of which no round counts is skipped, too."""
    rows: list[Row] = []
    for case in cases:
        path = case.path
        lost = failed.get(path, [])
        row = (
            _row(case, medians)
            if path in medians
            else {"path": path, "skipped": skipped.get(path) or lost[-1]}
        )
        rows.append({**row, "failed": lost} if lost else row)
    return rows


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _spec(case: Case, running: Front, seconds: float) -> Spec:
    return Spec(
        host="127.0.0.1",
        port=running.port,
        request=case.request(running.port, running.credential),
        connections=case.connections,
        seconds=seconds,
    )


class Failed(Exception):
    """Too many answers were not 200: a benchmark of refusals is none. Or a process was lost meanwhile."""


def _checked(case: Case, result: Result) -> Result:
    """Raises Failed."""
    if not result.rps:
        raise Failed("not one answer in time")
    wrong = {status: count for status, count in result.statuses.items() if status != "200"}
    if sum(wrong.values()) > MOST_WRONG * sum(result.statuses.values()):
        raise Failed(f"answers other than 200: {wrong} of {sum(result.statuses.values())}")
    return result


async def _cold(case: Case, running: Front) -> dict[str, float]:
    """The very first requests of a front (of a shared one: of this kind), one after the other."""
    spec = msgspec.structs.replace(
        _spec(case, running, 20.0), connections=1, requests=COLD_REQUESTS, warmup=0.0
    )
    result = _checked(case, await generators.python("benchmarks.load", spec))
    return {"cold_first_ms": result.first, "cold_p50_ms": result.p50, "ready_s": running.ready_seconds}


async def _measure(case: Case, running: Front, length: Length) -> dict[str, float]:
    """One round of one case: saturated, one connection, fixed rate; with 256 connections where asked."""
    await find_again(running)
    spec = _spec(case, running, length.saturated)
    before = {role: cpu_seconds(pid) for role, pid in running.pids.items()}
    closed = msgspec.structs.replace(spec, warmup=0.0)
    loaded = await (generators.python("benchmarks.load", closed) if case.slow else generators.closed(closed))
    used = {role: cpu_seconds(pid) - before[role] for role, pid in running.pids.items()}
    count = _checked(case, loaded).rps * loaded.seconds
    one = msgspec.structs.replace(spec, connections=1, seconds=length.single)
    single = _checked(case, await generators.python("benchmarks.load", one))
    rate = min(case.rate, loaded.rps / 2)  # beyond its capacity an open loop measures its own queue
    fixed = msgspec.structs.replace(spec, rate=rate, seconds=length.open)
    paced = _checked(case, await generators.python("benchmarks.open_loop", fixed))
    row = {
        "rps": loaded.rps,
        "saturated_p50_ms": loaded.p50,
        "saturated_p99_ms": loaded.p99,
        "p50_ms": single.p50,
        "p99_ms": single.p99,
        "first_p50_ms": single.first_p50,
        "open_rate": rate,
        "open_p50_ms": paced.p50,
        "open_p99_ms": paced.p99,
        "open_generator_late_p99_ms": paced.late_p99,
    }
    row |= {f"{role}_cpu_us": spent / count * 1e6 for role, spent in used.items()}
    row |= {f"{role}_rss_mb": rss_mb(pid) for role, pid in running.pids.items()}
    if ours := [pid for role, pid in running.pids.items() if role in {"agent", "python"}]:
        row["together_mb"] = together_mb(ours)
    if case.wide:
        wide = await generators.closed(msgspec.structs.replace(spec, connections=256))
        good = wide.statuses.get("200", 0)
        row |= {"c256_rps": good / wide.seconds, "c256_p50_ms": wide.p50, "c256_p99_ms": wide.p99}
        row["c256_not_200"] = sum(wide.statuses.values()) - good
    if lost := await find_again(running):
        raise Failed(f"lost and started again: {', '.join(lost)}")
    return row


async def _idle(fronts: dict[str, Front]) -> dict[str, float]:
    """Share of one core that each role takes while nothing is asked, in percent."""
    for each in fronts.values():
        await find_again(each)
    before = {
        name: {role: cpu_seconds(pid) for role, pid in each.pids.items()} for name, each in fronts.items()
    }
    await asyncio.sleep(IDLE_SECONDS if fronts else 0)
    shares: dict[str, list[float]] = {}
    for name, each in fronts.items():
        for role, pid in each.pids.items():
            spent = cpu_seconds(pid) - before[name][role]
            shares.setdefault(role, []).append(100 * spent / IDLE_SECONDS)
    return {role: statistics.median(found) for role, found in shares.items() if role != "upstream"}


def _row(case: Case, medians: dict[str, dict[str, float]]) -> Row:
    middle = dict(medians[case.path])
    base = medians.get(case.base)
    if base is not None:
        middle["ratio"] = middle["rps"] / base["rps"]
        middle |= {f"added_{name}": middle[name] - base[name] for name in ADDED}
        if base["open_rate"] == middle["open_rate"]:
            middle |= {
                f"added_open_{name}": middle[f"open_{name}"] - base[f"open_{name}"] for name in ADDED[:2]
            }
    if case.stream and base is not None and "python_cpu_us" in base:
        # the base makes the same checks of the request, so that this is the answer's alone
        middle["python_cpu_us_per_chunk"] = (middle["python_cpu_us"] - base["python_cpu_us"]) / CHUNKS
    parts = [middle[f"{role}_rss_mb"] for role in ("agent", "python") if f"{role}_rss_mb" in middle]
    if parts:
        middle["rss_mb"] = sum(parts)
    return {"path": case.path, "base": case.base, **{name: round(value, 3) for name, value in middle.items()}}


def _start(fronts: dict[str, Front], idle: dict[str, float]) -> Row:
    ready = sorted(each.ready_seconds for each in fronts.values() if "agent" in each.pids)
    if not ready:
        return {"path": "start", "skipped": "no sidecar was measured"}
    row: Row = {
        "path": "start",
        "ready_s": round(statistics.median(ready), 2),
        "ready_max_s": round(ready[-1], 2),
    }
    return row | {f"{role}_idle_cpu_percent": round(share, 2) for role, share in idle.items()}
