"""`bartizan up` outlives its children, and nothing of it outlives `bartizan up`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bartizan.local import watch
from bartizan.local.processes import free_port
from bartizan.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("laptop"), pytest.mark.timeout(600)]


class Laptop:
    """The command line on a state folder of its own, in front of a model that nobody asks."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.listen = f"127.0.0.1:{free_port()}"
        self.model = f"http://127.0.0.1:{free_port()}"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "BARTIZAN_HOME": str(self.state)}

    def words(self, *words: str) -> list[str]:
        """`bartizan up` with these words behind it."""
        policy = str(ROOT / "examples" / "quickstart" / "policy.yaml")
        return ["up", "--model", self.model, "--policy", policy, "--listen", self.listen, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bartizan", *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def up(self) -> None:
        done = self.run(*self.words("--detach"))
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stderr.splitlines() if line.startswith("starting ")] == [
            "starting OpenBao",
            "starting the control plane",
            "starting the sidecar, and waiting for its proof",
        ]

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.state / "up.json").read_text())
        return told


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path / "state")
    yield made
    made.run("down")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def gone(pids: dict[str, int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


def test_a_killed_sidecar_comes_back_and_the_state_file_follows(laptop: Laptop) -> None:
    laptop.up()
    before = laptop.told()["pids"]
    assert {"openbao", "control_plane", "sidecar", "envoy", "worker-0"} <= set(before)

    def renewed(*names: str) -> bool:
        now = laptop.told()["pids"]
        return all(now.get(name) not in {None, 0, before[name]} for name in names)

    os.kill(before["sidecar"], signal.SIGKILL)
    wait_until(lambda: renewed("sidecar", "envoy", "worker-0"))
    before = laptop.told()["pids"]
    os.kill(before["envoy"], signal.SIGKILL)  # its sidecar starts this one, and the file is not told
    wait_until(lambda: renewed("envoy"))
    after = laptop.told()["pids"]
    assert after["sidecar"] == before["sidecar"]
    assert laptop.run("down").returncode == 0
    assert gone(after)


def test_nothing_survives_a_kill_and_the_next_start_is_an_ordinary_one(laptop: Laptop) -> None:
    laptop.up()
    told = laptop.told()
    os.kill(told["pid"], signal.SIGKILL)
    wait_until(lambda: gone(told["pids"]))
    down = laptop.run("down")
    assert (down.returncode, "nothing runs" in down.stderr) == (3, True)
    laptop.up()
    assert laptop.run("--output", "json", "status").returncode == 0
    assert set(laptop.told()["pids"].values()).isdisjoint(told["pids"].values())


@pytest.mark.parametrize("left", [None, "bzt_of-another-house", "\xe9"], ids=["lost", "refused", "garbage"])
def test_the_next_start_makes_up_for_a_lost_admin_token(laptop: Laptop, left: str | None) -> None:
    laptop.up()
    assert laptop.run("down").returncode == 0
    file = laptop.state / "admin-token"
    file.unlink()
    if left is not None:
        file.write_text(left)
    laptop.up()
    (event,) = json.loads(laptop.run("events", "--act", "token.recover", "--output", "json").stdout)
    assert event["actor"].endswith(" (host)")


def test_in_the_foreground_it_says_where_it_serves_and_ends_by_a_signal(laptop: Laptop) -> None:
    command = [sys.executable, "-m", "bartizan", *laptop.words()]
    with subprocess.Popen(
        command, env=laptop.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == (
            f"default/quickstart version 1 is enforced at https://{laptop.listen}\n"
        )
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def test_a_second_start_on_the_same_folder_is_refused(laptop: Laptop) -> None:
    laptop.up()
    policy = str(ROOT / "examples" / "quickstart" / "policy.yaml")
    again = laptop.run("up", "--model", laptop.model, "--policy", policy, "--listen", laptop.listen)
    assert again.returncode == 4
    assert "already runs" in again.stderr
    other = laptop.run(
        "up",
        "--model",
        laptop.model,
        "--policy",
        policy,
        "--listen",
        laptop.listen,
        "--state",
        f"{laptop.state}2",
    )
    assert other.returncode == 5
    assert "another program listens on port" in other.stderr
    assert "starting" not in other.stderr
    applied = json.loads(laptop.run("policy", "apply", policy, "--output", "json").stdout)
    assert (applied["revision"], applied["changed"]) == (1, False)


async def test_a_token_that_ended_while_the_machine_slept_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, ended = Stack(tmp_path / "state"), asyncio.Event()
    try:
        await house.start_openbao()
        await house.start_control_plane()
        old = house.token_file.read_text()
        async with house.client() as client:
            for each in await client.tokens():
                await client.revoke_token(each.id)
        monkeypatch.setattr(watch, "RENEW", 0.0)
        monkeypatch.setattr(watch, "PAUSE", 0.05)
        turns = 0

        async def note() -> None:
            nonlocal turns
            turns += 1
            if turns == 3:
                ended.set()
            raise OSError("a full disk")

        async with asyncio.timeout(120):
            await watch.watch(house, ended, note)
        assert house.token_file.read_text() != old
        async with house.client() as client:
            assert await client.policies() == ()
    finally:
        await house.stop()
