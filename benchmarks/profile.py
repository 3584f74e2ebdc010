"""`make profile`: where a guard worker's time goes on each path. py-spy samples it under the benchmark's load.

Leaves build/profile/PATH.svg (a flame graph), PATH.txt (stacks with counts) and build/profile/costs.md: the functions
that cost most, by themselves and with what they call, in microseconds for one request.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

from benchmarks import generators
from benchmarks.cases import CASES, Case, check_only
from benchmarks.load import Spec
from benchmarks.meter import cpu_seconds
from benchmarks.stage import Skipped, front

SAMPLES_A_SECOND = 250
TOP = 15
_FRAME = re.compile(r"(.*) \((.*?)(?::\d+)?\)$")
_OURS = ("sidecar/", "bartizan/", "protos/")


async def profile(case: Case, seconds: float, folder: Path) -> str:
    """Sample one path; returns its part of the table. Raises Skipped."""
    async with front(case) as running:
        pid = running.pids["python"]
        request = case.request(running.port, running.credential)
        # it stays busy while py-spy attaches, draws and writes
        spec = Spec(
            host="127.0.0.1",
            port=running.port,
            request=request,
            connections=case.connections,
            seconds=2 * seconds + 6,
            warmup=0.0,
        )
        before = cpu_seconds(pid)
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(generators.python("benchmarks.load", spec))
            await asyncio.sleep(1.0)
            stacks = folder / f"{case.path}.txt"
            await _record(pid, seconds, "raw", stacks)
            await _record(pid, seconds, "flamegraph", folder / f"{case.path}.svg")
        result = loading.result()
        used = cpu_seconds(pid) - before
    wrong = {status: count for status, count in result.statuses.items() if status != "200"}
    if wrong:
        raise SystemExit(f"{case.path}: answers other than 200: {wrong}")
    return table(case.path, stacks.read_text(), used / max(1, result.statuses["200"]) * 1e6)


async def _record(pid: int, seconds: float, kind: str, out: Path) -> None:
    command = [
        _py_spy(),
        "record",
        "--pid",
        str(pid),
        "--duration",
        str(round(seconds)),
        "--output",
        str(out),
    ]
    options = ["--format", kind, "--rate", str(SAMPLES_A_SECOND), "--nonblocking"]
    process = await asyncio.create_subprocess_exec(
        *command, *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        hint = "it must be allowed to trace: run as root, or set kernel.yama.ptrace_scope to 0"
        raise SystemExit(f"py-spy failed; {hint}\n{said.decode()}")


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise SystemExit("py-spy is missing: uv pip install py-spy, or make setup")
    return found


def table(path: str, stacks: str, request_us: float) -> str:
    """Markdown: the functions that cost most. `request_us`: the worker's CPU for one request, as the kernel counts it."""
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        stack, _, number = line.rpartition(" ")
        frames = [_name(frame) for frame in stack.split(";")]
        count = int(number)
        total += count
        alone[frames[-1]] += count
        for name in set(frames):
            if name.startswith(_OURS):
                within[name] += count
    lines = [f"## {path}", "", f"{request_us:,.0f} µs of CPU for one request; {total} samples.", ""]
    lines += [
        "| alone µs | share | function | | with callees µs | share | function of ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for (one, count), (other, more) in zip(_top(alone), _top(within), strict=True):
        mine = f"{count / total * request_us:,.1f} | {count / total:.0%} | `{one}`" if one else " | | "
        all_of_it = f"{more / total * request_us:,.1f} | {more / total:.0%} | `{other}`" if other else " | | "
        lines.append(f"| {mine} | | {all_of_it} |")
    return "\n".join([*lines, ""])


def _top(counted: Counter[str]) -> list[tuple[str, int]]:
    found = counted.most_common(TOP)
    return [*found, *([("", 0)] * (TOP - len(found)))]


def _name(frame: str) -> str:
    """ "function (path/to/file.py:12)" as "file.py function", with the package's folder where it is ours."""
    found = _FRAME.match(frame)
    if found is None:
        return frame
    function, file = found.groups()
    for ours in _OURS:
        if (at := file.rfind(ours)) >= 0 and "site-packages" not in file:
            return f"{file[at:]} {function}"
    return f"{file.rpartition('/')[2]} {function}"


async def _all(cases: list[Case], seconds: float, folder: Path) -> bool:
    """Sample each path; what is there is written after each. Whether all could be sampled."""
    parts: list[str] = []
    good = True
    for case in cases:
        try:
            parts.append(await profile(case, seconds, folder))
        except Skipped as reason:
            print(f"{case.path}: skipped, {reason}", file=sys.stderr)
        except (ExceptionGroup, OSError) as failed:  # the generator's, or a worker's that was started again
            good = False
            print(f"{case.path}: failed, {failed}", file=sys.stderr)
        else:
            print(parts[-1], flush=True)
            (folder / "costs.md").write_text("\n".join(["# Where a worker's time goes", "", *parts]))
    return good


def main() -> None:
    """Parse, sample, write."""
    parser = argparse.ArgumentParser(prog="make profile")
    parser.add_argument("--only", default="", help="only paths that contain this word")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("build/profile"))
    arguments = parser.parse_args()
    sidecars = [case for case in CASES if case.front == "sidecar"]
    check_only(arguments.only, [case.path for case in sidecars])
    arguments.out.mkdir(parents=True, exist_ok=True)
    cases = [case for case in sidecars if arguments.only in case.path]
    sys.exit(not asyncio.run(_all(cases, arguments.seconds, arguments.out)))


if __name__ == "__main__":
    main()
