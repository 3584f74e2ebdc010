"""Plays one fuzzer for a while: `python -m tests.fuzz.play formats --seconds 600`. Prints what it did as JSON.
`--cases N`: that many inputs, each made anew, for a fuzzer that makes some.

By atheris where it is installed (it is no dependency: `pip install atheris`), which looks for new branches of our code;
else by plain mutation of seeds and of earlier inputs. An input that fails is kept below build/fuzz and played again by
`--input FILE`. An input that takes more than MOST_SECONDS of the processor has failed, too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FUZZERS = (
    *("streaming", "formats", "event_streams", "views", "multipart", "images"),
    *("grpc_frames", "http2_connection"),
)
OURS = ("sidecar.formats", "sidecar.checks", "sidecar.wire")
MOST_SECONDS = 1.0
LONGEST = 8192
KEPT = 4000
CAUGHT = Path("build/fuzz")

Play = Callable[[bytes], None]


class TooSlow(Exception):
    """An input of at most LONGEST bytes took too much processor time."""


def timed(play: Play) -> Play:
    """The same, and a limit on the time of each input. Garbage collection may fall into one: it gets a second chance."""

    def one(data: bytes) -> None:
        for _ in range(2):
            began = time.process_time()
            play(data)
            taken = time.process_time() - began
            if taken < MOST_SECONDS:
                return
        raise TooSlow(f"{taken:.1f} s for {len(data)} bytes")

    return one


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A few random changes, each of a kind that fuzzers use."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(made) + 1)
        size = min(len(made) - at, chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(7):
            case 0 if made and at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(made):
                made[at] = chance.randrange(256)
            case 2:
                made[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
            case 3:
                del made[at : at + size]
            case 4:
                made[at:at] = made[at : at + size] * chance.choice((1, 1, 3, 20))
            case 5:
                begin = chance.randrange(len(other) + 1)
                made[at : at + size] = other[begin : begin + chance.choice((4, 16, 64))]
            case _:
                begin = chance.randrange(len(made) + 1)
                made[at:at] = made[begin : begin + size]
    return bytes(made[:LONGEST])


def by_mutation(play: Play, seeds: Sequence[bytes], seconds: float, seed: int) -> tuple[int, bytes | None]:
    """Runs until the time is over; how many inputs, and the one that failed."""
    chance = random.Random(seed)
    pool = [*seeds] or [b""]
    executed, end = 0, time.monotonic() + seconds
    for data in pool[:]:
        executed += 1
        if not _passes(play, data):
            return executed, data
    while time.monotonic() < end:
        data = mutated(chance.choice(pool), chance.choice(pool), chance)
        executed += 1
        if not _passes(play, data):
            return executed, data
        if chance.random() < 0.02:
            if len(pool) < KEPT:
                pool.append(data)
            else:
                pool[chance.randrange(len(seeds), KEPT) if len(seeds) < KEPT else -1] = data
    return executed, None


def by_chance(
    play: Play, fresh: Callable[[random.Random], bytes], cases: int, seed: int
) -> tuple[int, bytes | None]:
    """So many inputs that are made anew; how many were played, and the one that failed."""
    chance = random.Random(seed)
    number = 0
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(1, cases + 1):
            data = fresh(chance)
            if not _passes(play, data):
                return number, data
            if number % 1000 == 0:
                print(f"{number} of {cases}", file=sys.stderr, flush=True)
    return number, None


def _passes(play: Play, data: bytes) -> bool:
    try:
        play(data)
    except Exception:
        traceback.print_exc()
        return False
    return True


def by_atheris(name: str, seconds: float, seed: int, corpus: Path) -> tuple[int, bytes | None]:
    """In a process of its own, which libFuzzer ends."""
    CAUGHT.mkdir(parents=True, exist_ok=True)
    prefix = CAUGHT / f"{name}-"
    options = [
        f"-max_total_time={round(seconds)}",
        f"-max_len={LONGEST}",
        f"-seed={seed % 2**31}",
        f"-artifact_prefix={prefix}",
        "-timeout=600",  # by the clock, as is what libFuzzer calls slow: ours is by the processor
        "-report_slow_units=600",
        "-rss_limit_mb=2000",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    started = time.time()
    command = [sys.executable, "-m", "tests.fuzz.play", name, "--inside", str(corpus), *options]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    units = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    failed = [file for file in CAUGHT.glob(f"{name}-*") if file.stat().st_mtime >= started]
    if done.returncode or failed:
        print(done.stderr[-6000:], file=sys.stderr)
    return int(units[1]) if units else 0, failed[
        0
    ].read_bytes() if failed else b"" if done.returncode else None


def inside(name: str, arguments: Sequence[str]) -> None:
    """What `by_atheris` starts."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=[*OURS]):
        module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    atheris.Setup(["fuzz", *arguments], timed(module.one_input))
    atheris.Fuzz()


def main() -> None:
    """Play, print, keep what failed; status 1 when something did."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.play")
    parser.add_argument("name", choices=FUZZERS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cases", type=int, default=0, help="so many inputs, each made anew")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--mutation", action="store_true", help="without atheris, although it is there")
    parser.add_argument("--input", type=Path, help="play this one file")
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    name = arguments.name
    if arguments.inside is not None:
        inside(name, arguments.inside)
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    if arguments.input:
        timed(module.one_input)(arguments.input.read_bytes())
        return
    guided = not (arguments.mutation or arguments.cases) and find_spec("atheris") is not None
    began, used = time.monotonic(), os.times()
    with tempfile.TemporaryDirectory() as folder:
        if guided:
            for number, data in enumerate(module.seeds()):
                (Path(folder) / str(number)).write_bytes(data[:LONGEST])
            executed, failed = by_atheris(name, arguments.seconds, arguments.seed, Path(folder))
        elif arguments.cases:
            play = timed(module.one_input)
            executed, failed = by_chance(play, module.fresh, arguments.cases, arguments.seed)
        else:
            play = timed(module.one_input)
            executed, failed = by_mutation(play, module.seeds(), arguments.seconds, arguments.seed)
    now = os.times()
    report = {
        "fuzzer": name,
        "by": "atheris" if guided else "chance" if arguments.cases else "mutation",
        "seed": arguments.seed,
        "executed": executed,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(sum(now[:4]) - sum(used[:4]), 1),
        "failed": failed is not None,
    }
    print(json.dumps(report), flush=True)
    if failed is not None:
        CAUGHT.mkdir(parents=True, exist_ok=True)
        (CAUGHT / f"{name}-{arguments.seed}.failed").write_bytes(failed)
        sys.exit(1)


if __name__ == "__main__":
    main()
