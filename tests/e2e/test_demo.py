"""`bartizan demo` plays every step as expected, and its report says what was observed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from bartizan.local.demo.runner import Report

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("laptop"), pytest.mark.timeout(1200)]

STEPS = [
    "no_key",
    "valid_key",
    "other_tenant",
    "over_limit",
    "injection",
    "pii_redacted",
    "output_canary",
    "rounded",
    "policy_push",
    "policy_invalid",
    "policy_nack",
    "rotation",
    "control_plane_down",
    "control_plane_back",
    "worker_killed",
    "trace_tree",
]


async def test_the_demo_plays_all_steps_as_expected(tmp_path: Path) -> None:
    report_file = tmp_path / "demo.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bartizan",
        "demo",
        "--report",
        str(report_file),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    shown, _ = await process.communicate()
    assert report_file.exists(), shown.decode()[-5000:]
    report = msgspec.json.decode(report_file.read_bytes(), type=Report)
    assert [row.step for row in report.steps] == STEPS
    assert not [(row.step, row.observed) for row in report.steps if not row.ok], shown.decode()
    assert process.returncode == 0
