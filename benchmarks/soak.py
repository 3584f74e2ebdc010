"""`make soak MINUTES=30`: a mixed load with aborts, slow readers, oversized and malformed bodies, on one sidecar.

Every answer is held against the one decision that is right; memory, files and open streams of each process are
watched. Ends with a verdict, build/soak.json, and status 1 when it is a bad one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from benchmarks.cases import DETECTORS, OUTPUT, Case
from benchmarks.meter import cpu_seconds, open_files, rss_mb
from benchmarks.report import document
from benchmarks.scenarios import MIX, PATIENCE, SHED, Client
from benchmarks.stage import Front, find_again, front

CASE = Case(path="soak", checks={"input": DETECTORS, "output": OUTPUT})
CLIENTS = 16
EVERY = 5.0
WARM_SHARE = 0.25
"""Of the samples, before which caches, pools and thread stacks are still filling."""
MOST_SLOPE_MB = 1.0
"""Megabytes a minute of each process; judged from MIN_MINUTES on, as caches still fill before."""
MIN_MINUTES = 4.0
_WINDOWS = 9
MOST_FILES = 8
MOST_SHED = 0.01
SETTLE = 20.0
_WATCHED = ("envoy", "python", "agent")
_ACTIVE = ("downstream_rq_active", "upstream_rq_active")


@dataclass(slots=True)
class Watch:
    """What was seen so far."""

    played: Counter[str] = field(default_factory=Counter)
    shed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    """Processes that went away and were started again."""
    samples: list[dict[str, float]] = field(default_factory=list)


async def soak(minutes: float, seed: int) -> dict[str, Any]:
    """Play, watch, settle, judge."""
    watch = Watch()
    async with front(CASE) as running:
        client = Client(running)
        until = time.monotonic() + minutes * 60
        began = {role: cpu_seconds(running.pids[role]) for role in _WATCHED}
        async with asyncio.TaskGroup() as group:
            group.create_task(_sample(running, watch, until))
            for number in range(CLIENTS):
                group.create_task(_play(client, watch, random.Random(seed * 1000 + number), until))
        active = await _settled(running)
        watch.lost.update(await find_again(running))
        rest = _now(running)
        used = {role: cpu_seconds(running.pids[role]) - began[role] for role in _WATCHED}
        never = await _never(running)
        if watch.lost:
            print(running.log.read_text(errors="replace")[-4000:], file=sys.stderr)
    return _judge(watch, minutes=minutes, active=active, rest=rest, used=used, never=never)


async def _play(client: Client, watch: Watch, chance: random.Random, until: float) -> None:
    scenarios, weights = list(MIX), list(MIX.values())
    while time.monotonic() < until:
        (scenario,) = chance.choices(scenarios, weights)
        name = getattr(scenario, "__name__", "")
        try:
            async with asyncio.timeout(PATIENCE):
                said = await scenario(client, chance)
        except TimeoutError:
            said = "no answer: stuck"
        except OSError as error:
            said = "" if name.startswith("aborted") else f"{type(error).__name__}"
        watch.played[name] += 1
        if said == SHED:
            watch.shed[name] += 1
        elif said:
            watch.wrong[f"{name}: {said}"] += 1


def _now(running: Front) -> dict[str, float]:
    found: dict[str, float] = {"at": time.monotonic()}
    for role in _WATCHED:
        found[f"{role}_rss_mb"] = rss_mb(running.pids[role])
        found[f"{role}_files"] = open_files(running.pids[role])
    return found


async def _sample(running: Front, watch: Watch, until: float) -> None:
    while time.monotonic() < until:
        watch.lost.update(await find_again(running))
        watch.samples.append(_now(running) | await _active(running))
        last = watch.samples[-1]
        print(
            f"{watch.played.total()} played, {watch.shed.total()} shed, {watch.wrong.total()} wrong; "
            + ", ".join(f"{role} {last[f'{role}_rss_mb']:.0f} MB" for role in _WATCHED),
            file=sys.stderr,
            flush=True,
        )
        await asyncio.sleep(EVERY)


async def _active(running: Front) -> dict[str, float]:
    """Requests that Envoy has open, downstream and to each cluster."""
    pattern = "|".join(_ACTIVE)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(running.admin))) as session,
        session.get(f"http://admin/stats?format=json&filter=({pattern})$") as answer,
    ):
        stats = (await answer.json(content_type=None))["stats"]
    # the agent's own subscriptions stay open by design
    kept = [one for one in stats if ".admin." not in one["name"] and "xds" not in one["name"]]
    return {
        one["name"]: one["value"]
        for one in kept
        if one["name"].startswith(("http.", "cluster.guard", "cluster.model"))
    }


async def _settled(running: Front) -> dict[str, float]:
    """What is still open when nobody asks any more; waits for a while until it is nothing."""
    end = time.monotonic() + SETTLE
    while True:
        active = {name: value for name, value in (await _active(running)).items() if value}
        if not active or time.monotonic() > end:
            return active
        await asyncio.sleep(0.5)


async def _never(running: Front) -> int:
    """How often the model saw what it must never see."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{running.model_port}/never") as answer,
    ):
        return int(await answer.text())


def _judge(
    watch: Watch,
    *,
    minutes: float,
    active: dict[str, float],
    rest: dict[str, float],
    used: dict[str, float],
    never: int,
) -> dict[str, Any]:
    warm = watch.samples[int(len(watch.samples) * WARM_SHARE) :]
    problems = [f"{count} x {text}" for text, count in watch.wrong.items()]
    if never:
        problems.append(f"the model saw {never} requests that had to be refused")
    problems += [f"{role} was lost and started again, {count} times" for role, count in watch.lost.items()]
    problems += [f"still open at the end: {name} {value:.0f}" for name, value in active.items()]
    played = watch.played.total()
    if watch.shed.total() > MOST_SHED * played:
        problems.append(f"{watch.shed.total()} of {played} were shed")
    processes: dict[str, Any] = {}
    for role in _WATCHED:
        slope = _slope(warm, f"{role}_rss_mb")
        files = rest[f"{role}_files"] - min(sample[f"{role}_files"] for sample in watch.samples[:1])
        if slope > MOST_SLOPE_MB and minutes >= MIN_MINUTES:
            problems.append(f"{role} grows by {slope:.2f} MB a minute")
        if files > MOST_FILES:
            problems.append(f"{role} has {files:.0f} more open files than at the start")
        processes[role] = {
            "rss_first_mb": round(watch.samples[0][f"{role}_rss_mb"], 1),
            "rss_warm_mb": round(warm[0][f"{role}_rss_mb"], 1),
            "rss_last_mb": round(rest[f"{role}_rss_mb"], 1),
            "rss_slope_mb_per_minute": round(slope, 3),
            "files_more": int(files),
            "cpu_seconds": round(used[role], 1),
        }
    return {
        "verdict": "good" if not problems else "bad",
        "problems": problems,
        "minutes": minutes,
        "clients": CLIENTS,
        "played": dict(sorted(watch.played.items())),
        "total": played,
        "shed": watch.shed.total(),
        "wrong": watch.wrong.total(),
        "processes": processes,
        "samples": watch.samples,
    }


def _slope(samples: list[dict[str, float]], name: str) -> float:
    """Megabytes a minute of the floor: least squares over the lowest sample of each window. A body of 5 MB in flight is
    no leak.
    """
    size = len(samples) // _WINDOWS
    if not size:
        return 0.0
    windows = [samples[at : at + size] for at in range(0, size * _WINDOWS, size)]
    floor = [min(window, key=lambda sample: sample[name]) for window in windows]
    at = [sample["at"] / 60 for sample in floor]
    return statistics.linear_regression(at, [sample[name] for sample in floor]).slope


def main() -> None:
    """Run, print, write, and say by the exit status what came of it."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    arguments = parser.parse_args()
    found = asyncio.run(soak(arguments.minutes, arguments.seed))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = document([], "soak") | {"seed": arguments.seed} | found
    arguments.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    shown = {name: value for name, value in found.items() if name != "samples"}
    with contextlib.suppress(BrokenPipeError):
        print(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    sys.exit(found["verdict"] != "good")


if __name__ == "__main__":
    main()
