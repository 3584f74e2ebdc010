"""docs/quickstart-vm.md is true: its commands are run as they stand, with free ports and a folder of their own."""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bartizan.local.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "quickstart-vm.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("laptop"), pytest.mark.timeout(600)]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """One shell in which the blocks run one after the other, as a reader would type them."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BARTIZAN_HOME": str(tmp_path / "state"),
    }
    child = subprocess.Popen(
        ["bash"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield child
    subprocess.run(["bartizan", "down"], env=environment, cwd=ROOT, check=False, capture_output=True)
    os.killpg(child.pid, signal.SIGTERM)  # the shell and the model that it started, nothing else
    child.wait(60)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    child.stdout.close()


def run(shell: subprocess.Popen[str], block: str) -> str:
    """Run a block and return all that it printed; its last status must be 0."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(block + 'printf "\\n<<status %s>>\\n" "$?"\n')
    shell.stdin.flush()
    lines: list[str] = []
    for line in shell.stdout:
        if line.startswith("<<status "):
            assert line.strip() == "<<status 0>>", "".join(lines)
            break
        lines.append(line)
    return "".join(lines)


def test_the_quickstart_ends_with_a_guarded_model(shell: subprocess.Popen[str], tmp_path: Path) -> None:
    model, listener = free_port(), free_port()
    ours = {"8000": str(model), "8443": str(listener), "key.txt": str(tmp_path / "key.txt")}
    blocks = [
        # at once: a port of ours may hold the digits of another one
        re.sub("|".join(map(re.escape, ours)), lambda found: ours[found[0]], block)
        for block in BLOCKS
        if "make setup" not in block
    ]
    start_model, validate, up, requests, look, change, down = blocks
    run(shell, start_model)
    assert "default/quickstart is valid" in run(shell, validate)
    wait_for_port(model)
    assert "version 1 is enforced" in run(shell, up)
    answers = run(shell, requests)
    assert '"status": 401' in answers
    assert '{"words":3,"scores":[0.75,0.25]}' in answers
    assert (tmp_path / "key.txt").stat().st_mode & 0o777 == 0o600
    seen = run(shell, look)
    assert "enforced 1/1" in seen
    assert "missing_credentials" in seen
    assert re.search(r"^model +good", seen, re.MULTILINE)
    assert "enforced 1/1" in run(shell, change)
    assert "stopped" in run(shell, down)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if (
            subprocess.run(
                ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], capture_output=True, check=False
            ).returncode
            == 0
        ):
            return
        time.sleep(0.1)
    pytest.fail("the model did not start")


def test_the_systemd_unit_starts_a_command_that_exists() -> None:
    unit = re.search(r"```ini\n(.*?)```", TEXT, re.DOTALL)
    assert unit is not None
    parser = configparser.ConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names are case-sensitive
    parser.read_string(unit[1])
    command = parser["Service"]["ExecStart"].split()
    assert command[:2] == ["/opt/bartizan/.venv/bin/bartizan", "up"]
    options = subprocess.run(
        [sys.executable, "-m", "bartizan", "up", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(word in options for word in command if word.startswith("--"))
