"""Log lines of a process: all of them JSON, also those of libraries, and none with the shape of a credential in it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bartizan.telemetry.redact import MASK, redact_text

PROGRAM = """
import asyncio, logging, warnings
from bartizan.telemetry.logging import configure, get_logger
configure("test", "debug")
def fail():
    raise ValueError("with hvs.CAESIJ8vq3mJkQ0x7y2Zabcd1234")
async def main():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
logging.getLogger("grpc._cython").error("went %s", "wrong")
logging.getLogger("grpc._cython").error("went %s %s", "wrong")
logging.getLogger("aiohttp").debug("every call")
warnings.warn("old", stacklevel=1)
get_logger().info("own_line")
"""


def test_what_libraries_log_is_json_and_without_credentials() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line.get("logger")) for line in lines] == [
        ("library_log", "asyncio"),
        ("library_log", "grpc._cython"),
        ("library_log_unreadable", "grpc._cython"),
        ("library_log", "py.warnings"),
        ("own_line", None),
    ]
    assert "Exception in callback" in lines[0]["message"]
    assert "ValueError" in lines[0]["exception"]
    assert lines[1]["message"] == "went wrong"
    assert {line["component"] for line in lines} == {"test"}
    assert "CAESIJ8" not in done.stderr


@pytest.mark.parametrize(
    "token",
    [
        "hvs.CAESIJ8vq3mJkQ0x7y2Zabcd1234",
        "hvb.AAAAAQJ8vq3mJkQ0x7y2Z_bcd-1234",
        "s.abcdefghijklmnopqrstuvwx",
        "b.abcdefghijklmnopqrstuvwx",
        "bzk_abcdefgh12345678",
        "bzt_abcdefgh12345678",
    ],
)
def test_tokens_are_masked_wherever_they_stand(token: str) -> None:
    assert redact_text(f"refused ({token})") == f"refused ({MASK})"
