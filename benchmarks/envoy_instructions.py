"""How many instructions Envoy spends on one request: python -m benchmarks.envoy_instructions [CASE …] [--functions N].

A case's front is started as in the bench, with Envoy under valgrind's callgrind (`apt-get install valgrind`). A fixed number of
requests is played over eight connections; what Envoy's worker thread executed meanwhile is divided by them. Its main thread
is left out: what that does (statistics, the agent's questions) goes by the clock, which callgrind slows down fifty times.
Work of the kernel is not counted. Two runs differ by a few in a thousand, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from bartizan.local.binaries import find_binary
from benchmarks import generators
from benchmarks.cases import CASES, Case
from benchmarks.load import Spec
from benchmarks.stage import Front, Skipped, front
from benchmarks.vtables import virtual_functions

DEFAULT = ("no_filter", "ext_authz", "ext_authz_untraced")
CONNECTIONS = 8
WARMUP = 200
TRIES = 3
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
_LINE = re.compile(r"^ *([\d,]+) \([\d. ]+%\) +\S*?:(\S+)", re.MULTILINE)


class NotCounted(Exception):
    """There is no count; the text says why."""


def starter(envoy: Path, folder: Path) -> Path:
    """A program that starts Envoy under callgrind, which counts nothing until it is told to."""
    script = folder / "envoy"
    options = "--tool=callgrind --instr-atstart=no --separate-threads=yes"
    out = f"--callgrind-out-file='{folder}/counted.%p'"
    script.write_text(f"#!/bin/sh\nexec valgrind {options} {out} '{envoy}' \"$@\"\n")
    script.chmod(stat.S_IRWXU)
    return script


def busiest(folder: Path, pid: int) -> tuple[int, Path]:
    """Instructions of the thread that did most, and its dump. Raises NotCounted when nothing was counted."""
    totals = [
        (int(found[1]), dump)
        for dump in folder.glob(f"counted.{pid}.*")
        if (found := _TOTAL.search(dump.read_text()))
    ]
    if not totals:
        raise NotCounted("callgrind wrote no totals")
    return max(totals)


async def count(case: Case, requests: int, folder: Path) -> tuple[float, Path]:
    """Instructions for one request, and the dump that has them. Raises NotCounted, Skipped."""
    async with front(case) as running:
        pid = running.pids["envoy"]
        await _control("--instr=on", pid)
        await _play(
            case, running, WARMUP
        )  # all code is translated anew: some calls to the guard are too late
        await _control("--zero", pid)
        statuses = await _play(case, running, requests)
        await _control("--dump", pid)
        if statuses.keys() != {"200"}:
            raise NotCounted(f"{case.path} answered {statuses}: a refusal is other work")
        total, dump = busiest(folder, pid)
        return total / statuses["200"], dump


async def _play(case: Case, running: Front, requests: int) -> dict[str, int]:
    spec = Spec(
        host="127.0.0.1",
        port=running.port,
        request=case.request(running.port, running.credential),
        connections=CONNECTIONS,
        seconds=300,
        requests=requests,
        warmup=0,
    )
    return (await generators.python("benchmarks.load", spec)).statuses


async def _control(order: str, pid: int) -> None:
    said = await _output("callgrind_control", order, str(pid))
    if "OK." not in said:
        raise NotCounted(f"callgrind_control {order}: {said}")


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return out.decode(errors="replace")


def functions(annotated: str, names: dict[int, str], answered: float, most: int) -> list[str]:
    """The functions that cost most for one request, with what they call, of callgrind_annotate's table."""
    rows: list[str] = []
    for instructions, place in _LINE.findall(annotated):
        address, *again = place.split("'")  # a function that is called from itself
        known = names.get(int(address, 16)) if address.startswith("0x") else None
        name = place if known is None else "'".join([known, *again])
        rows.append(f"{int(instructions.replace(',', '')) / answered:12,.0f}  {name}")
    return rows[:most]


async def _report(case: Case, requests: int, most: int, envoy: Path, names: dict[int, str]) -> None:
    """Print what was counted. Raises NotCounted, Skipped."""
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as made:
        folder = Path(made)
        os.environ["BARTIZAN_ENVOY"] = str(starter(envoy, folder))
        each, dump = await count(case, requests, folder)
        print(f"{case.path}: {each:,.0f} instructions a request", flush=True)
        if most:
            said = await _output("callgrind_annotate", "--inclusive=yes", "--threshold=100", str(dump))
            total, _ = busiest(folder, int(dump.name.split(".")[1]))
            print("\n".join(functions(said, names, total / each, most)), flush=True)


async def _all(cases: list[Case], requests: int, most: int) -> None:
    envoy = find_binary("envoy")
    names = virtual_functions(envoy.read_bytes()) if most else {}
    for case in cases:
        for left in reversed(range(TRIES)):
            try:
                await _report(case, requests, most, envoy, names)
                break
            except NotCounted as reason:  # an agent ends an Envoy that is silent for long, as this one may be
                print(f"{case.path}: {reason}", file=sys.stderr)
                if not left:
                    sys.exit(1)
            except Skipped as reason:
                print(f"{case.path}: skipped, {reason}", file=sys.stderr)
                break


def main() -> None:
    """Parse, count, print."""
    paths = {case.path: case for case in CASES if not case.stream}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.envoy_instructions")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(paths)}")
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="the N most costly ones, too")
    arguments = parser.parse_args()
    chosen = arguments.cases or DEFAULT
    if unknown := set(chosen) - paths.keys():
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(paths)}")
    if shutil.which("callgrind_control") is None:
        sys.exit("valgrind is missing: apt-get install valgrind")
    asyncio.run(_all([paths[each] for each in chosen], arguments.requests, arguments.functions))


if __name__ == "__main__":
    main()
