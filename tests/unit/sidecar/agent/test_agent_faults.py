"""What ends the agent's process: one JSON line for each fault, no traceback for those that are known."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path


async def test_a_known_fault_is_one_json_line(tmp_path: Path) -> None:
    for name in ("envoy", "token", "file"):
        (tmp_path / name).write_text("x")
    environment = {
        "PATH": os.environ["PATH"],
        "BARTIZAN_CONFIG": str(tmp_path / "none.yaml"),
        "BARTIZAN_ENVOY": str(tmp_path / "envoy"),
        "BARTIZAN_JOIN_TOKEN_FILE": str(tmp_path / "token"),
        "BARTIZAN_RUN_DIR": str(tmp_path / "r"),
        "BARTIZAN_STATE_DIR": str(tmp_path / "file" / "below"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    (line,) = [json.loads(text) for text in errors.decode().splitlines()]
    assert (line["event"], line["error"]) == ("agent_failed", "ProcessFailed")
    assert "BARTIZAN_STATE_DIR" in line["reason"]
    assert "exception" not in line
