"""push_1: from the API call to the proof on one sidecar, with the whole stack running; and start-up times."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from bartizan.local.processes import free_port
from bartizan.local.stack import Stack
from benchmarks.cases import Case
from benchmarks.load import percentile


async def measure_push(pushes: int) -> dict[str, Any]:
    """Apply a changed policy again and again; each time wait for enforcement."""
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as folder:
        stack = Stack(Path(folder), labels={"app": "bench"})
        case = Case(path="push_1")
        document = case.policy(free_port(), free_port())
        try:
            began = time.perf_counter()
            await stack.start_openbao()
            await stack.start_control_plane()
            control_plane = time.perf_counter() - began
            async with stack.client() as client:
                await client.create_key_set("bench")
                await client.apply(yaml.safe_dump(document), reason="bench")
                began = time.perf_counter()
                await stack.start_sidecar()
                sidecar = time.perf_counter() - began
                taken: list[float] = []
                for number in range(pushes):
                    document["spec"]["limits"]["requests"][0]["burst"] = 1000 + number
                    began = time.perf_counter()
                    applied = await client.apply(yaml.safe_dump(document), reason="bench")
                    status = await client.wait_enforced(applied.name, applied.version, timeout_seconds=20)
                    taken.append(time.perf_counter() - began)
                    if not status.enforced:
                        raise SystemExit(f"push {number} was not enforced")
        finally:
            await stack.stop()
    taken.sort()
    return {
        "path": "push_1",
        "push_p50_ms": round(percentile(taken, 50), 1),
        "push_p99_ms": round(percentile(taken, 99), 1),
        "pushes": pushes,
        "control_plane_and_openbao_ready_s": round(control_plane, 2),
        "sidecar_ready_s": round(sidecar, 2),
    }
