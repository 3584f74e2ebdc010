"""Which load generator runs: wrk where it is installed (Debian: apt-get install wrk), since on few cores the generator's
own cost is part of every figure; else, and where answers take long, benchmarks/load.py. The open loop is always
benchmarks/open_loop.py.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile

import msgspec

from benchmarks.load import Result, Spec

WRK = shutil.which("wrk")
NAME = "wrk" if WRK else "benchmarks.load"
_UNIT = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)$", re.MULTILINE)
_COUNT = re.compile(r"(\d+) requests in ([\d.]+)(s|m),")
_WRONG = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_BROKEN = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


class GeneratorFailed(Exception):
    """The generator gave no result."""


async def closed(spec: Spec) -> Result:
    """As many requests as come back: by wrk, when it is there."""
    return await _wrk(spec) if WRK else await python("benchmarks.load", spec)


async def python(module: str, spec: Spec) -> Result:
    """One of our own generators, in a process of its own. Raises GeneratorFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(msgspec.json.encode(spec))
    if process.returncode:
        raise GeneratorFailed(f"{module} failed with status {process.returncode}")
    return msgspec.json.decode(out, type=Result)


async def _wrk(spec: Spec) -> Result:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(spec.request))
        script.flush()
        assert WRK is not None
        process = await asyncio.create_subprocess_exec(
            WRK,
            "-t1",
            f"-c{spec.connections}",
            f"-d{max(1, round(spec.seconds))}s",
            "--latency",
            "--timeout",
            "20s",
            "-s",
            script.name,
            f"http://{spec.host}:{spec.port}",
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    return read(out.decode())


def _script(request: bytes) -> str:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = [line.split(": ", 1) for line in lines if not line.startswith(("content-length", "host"))]
    made = [f"wrk.headers[{_quoted(name)}] = {_quoted(value)}" for name, value in headers]
    made += [f"wrk.method = {_quoted(method)}", f"wrk.body = {_quoted(body.decode())}"]
    return "\n".join([*made, f"wrk.path = {_quoted(path)}"])


def _quoted(text: str) -> str:
    """A Lua string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def read(said: str) -> Result:
    """What wrk printed. Raises GeneratorFailed when it is not wrk's report."""
    counted = _COUNT.search(said)
    if counted is None:
        raise GeneratorFailed(f"wrk said: {said}")
    number, seconds = int(counted[1]), float(counted[2]) * _UNIT[counted[3]] / 1000
    wrong = int(found[1]) if (found := _WRONG.search(said)) else 0
    broken = sum(map(int, found.groups())) if (found := _BROKEN.search(said)) else 0
    statuses = {"200": number - wrong, "not 2xx": wrong, "0": broken}
    latency = {name: float(value) * _UNIT[unit] for name, value, unit in _LATENCY.findall(said)}
    p50, p99 = latency.get("50", 0.0), latency.get("99", 0.0)
    return Result(
        statuses={name: count for name, count in statuses.items() if count},
        seconds=seconds,
        rps=number / seconds,
        p50=p50,
        p99=p99,
        first_p50=p50,
        first_p99=p99,
    )
