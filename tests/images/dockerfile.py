"""Plays a Dockerfile without a container engine: a stage is an overlay over this machine's own root, a RUN a chroot into it.

What a finished image is asked to run runs there as the image's user, with a root that nobody can write to. Needs root:
`unshare --mount --propagation private python -m tests.images.dockerfile`: a Plan on standard input, Done[] on standard output.
Only what deploy/images/Dockerfile uses is known; anything else raises.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

BASE = f"this.machine/python@sha256:{'0' * 64}"
_PYTHON = Path(sys.base_prefix).resolve()
_BASE_PATH = f"{_PYTHON}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REGISTRY = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
_MOUNT_POINTS = ("run/bartizan", "etc/bartizan/models")
_NOT_IN_BASE = ("usr/share/modsecurity-crs", "opt/bartizan")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A command in a finished image; models: a folder of this machine at the model folder's place."""

    target: str
    argv: tuple[str, ...]
    models: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    context: str
    asked: tuple[Asked, ...]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    returncode: int
    output: str
    """Of both streams."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """layers: its own is the last. arguments: build arguments, which an image does not keep."""

    layers: tuple[Path, ...]
    environment: dict[str, str]
    folder: str = "/"
    user: str = "0:0"
    arguments: dict[str, str] = field(default_factory=dict)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Name and rest, without comments and continuation lines."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in kept.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def let_in(context: Path) -> list[str]:
    """The files that .dockerignore lets into a build, of those that git knows or would."""
    first, *rest = [
        line for line in (context / ".dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert first == "*", "the form that ours has: nothing but these, and of them not those"
    wanted = [line[1:] for line in rest if line[0] == "!"]
    unwanted = [line.removeprefix("**/") for line in rest if line[0] != "!"]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=context, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [
        name
        for name in listed
        if any(f"{name}/".startswith(f"{one}/") for one in wanted)
        and not any(fnmatch.fnmatch(f"/{name}/", f"*/{one}/*") for one in unwanted)
    ]


class Build:
    """All stages of a Dockerfile, below `work`, which must be another file system than the root."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self._context, self._work = Path(plan.context), work
        self._stages: dict[str, Stage] = {}
        self._base = self._new("base")
        with self._mounted((self._base,)) as root:
            for name in _MOUNT_POINTS:
                (root / name).mkdir(parents=True, exist_ok=True)
            for name in _NOT_IN_BASE:
                shutil.rmtree(root / name, ignore_errors=True)
            for parent in (
                _PYTHON,
                *_PYTHON.parents[:-1],
            ):  # the image's user must get to the machine's Python
                place = root / parent.relative_to("/")
                place.chmod(place.stat().st_mode | 0o555)
        stage: Stage | None = None
        for name, rest in instructions(Path(plan.file).read_text()):
            stage = self._play(name, rest, stage)

    def run(self, asked: Asked) -> Done:
        stage = self._stages[asked.target]
        user = stage.user.partition(":")[0]
        with self._mounted(stage.layers, writable=False) as root:
            _call("mount", "-t", "tmpfs", "-o", f"uid={user},mode=700", "run", str(root / _MOUNT_POINTS[0]))
            if asked.models:
                _call("mount", "--bind", asked.models, str(root / _MOUNT_POINTS[1]))
            told = {**stage.environment, "TMPDIR": f"/{_MOUNT_POINTS[0]}"}
            return _chroot(root, "/", list(asked.argv), told, stage.user)

    def _play(self, name: str, rest: str, stage: Stage | None) -> Stage | None:
        if name == "FROM":
            return self._begin(*rest.split(" AS "))
        if stage is None:  # ARG BASE, before all stages
            return None
        match name:
            case "ARG":
                key, _, default = rest.partition("=")
                stage.arguments[key] = BASE if key == "BASE" else default
            case "ENV":
                for key, value in re.findall(r"(\w+)=(\S+)", rest):
                    stage.environment[key] = value.replace("$PATH", stage.environment["PATH"])
            case "WORKDIR":
                stage.folder = rest
            case "USER":
                stage.user = rest
            case "COPY":
                self._copy(stage, *rest.split())
            case "RUN":
                told = {**_REGISTRY, **stage.arguments, **stage.environment}
                with self._mounted(stage.layers) as root:
                    (root / stage.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
                    done = _chroot(root, stage.folder, ["sh", "-c", rest], told, "0:0")
                if done.returncode:
                    raise RuntimeError(f"RUN {rest}\n{done.output}")
            case "EXPOSE" | "ENTRYPOINT" | "CMD":
                pass
            case _:
                raise NotImplementedError(name)
        return stage

    def _begin(self, parent: str, name: str) -> Stage:
        before = self._stages.get(parent)
        if before is None:
            assert parent == "${BASE}", parent
            before = Stage(layers=(self._base,), environment={"PATH": _BASE_PATH})
        made = Stage(
            layers=(*before.layers, self._new(name)),
            environment=dict(before.environment),
            folder=before.folder,
            user=before.user,
        )
        self._stages[name] = made
        return made

    def _copy(self, stage: Stage, *words: str) -> None:
        *sources, target = words
        with self._mounted(stage.layers) as root:
            place = root / os.path.normpath(
                f"{stage.folder}/{target}" if target[0] != "/" else target
            ).lstrip("/")
            if sources[0].startswith("--from="):
                place.mkdir(parents=True, exist_ok=True)
                with self._mounted(self._stages[sources[0].removeprefix("--from=")].layers) as other:
                    _call("cp", "-a", f"{other}{sources[1].rstrip('/')}/.", str(place))
                return
            for source in sources:
                names = [
                    one
                    for one in let_in(self._context)
                    if source == "." or f"{one}/".startswith(f"{source.rstrip('/')}/")
                ]
                assert names, f"COPY {source}: .dockerignore keeps it out"
                for name in names:
                    folder = "" if source == "." else source
                    to = place if name == source else place / os.path.relpath(name, folder or ".")
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(self._context / name, to)

    def _new(self, name: str) -> Path:
        made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._work))
        made.chmod(0o755)
        return made

    @contextmanager
    def _mounted(self, layers: tuple[Path, ...], *, writable: bool = True) -> Iterator[Path]:
        """The layers over this machine's root; what is written goes into the last one."""
        root = self._new("root")
        below = [str(each) for each in reversed(layers[:-1] if writable else layers)]
        options = f"lowerdir={':'.join([*below, '/'])}"
        if writable:
            options += f",upperdir={layers[-1]},workdir={self._new('work')}"
        _call("mount", "-t", "overlay", "overlay", "-o", options, str(root))
        for each in ("proc", "dev"):
            _call("mount", "--rbind", f"/{each}", str(root / each))
        try:
            yield root
        finally:
            _call("umount", "--recursive", str(root))


def _call(*command: str) -> None:
    subprocess.run(command, check=True)


def _chroot(root: Path, folder: str, argv: list[str], environment: dict[str, str], user: str) -> Done:
    """As a container starts: no capability unless root, and nothing of this process's environment."""
    told = [f"{name}={value}" for name, value in environment.items()]
    names = user.split(":")
    drop = [] if user == "0:0" else ["--bounding-set=-all", "--no-new-privs"]
    done = subprocess.run(
        [
            "chroot", root, "setpriv", f"--reuid={names[0]}", f"--regid={names[1]}", "--clear-groups", *drop,
            "env", "--ignore-environment", f"--chdir={folder}", *told, *argv,
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return Done(returncode=done.returncode, output=done.stdout)


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    with tempfile.TemporaryDirectory() as place:
        _call("mount", "-t", "tmpfs", "work", place)
        try:
            build = Build(plan, Path(place))
            done = [build.run(each) for each in plan.asked]
        finally:
            _call("umount", "--recursive", place)
    sys.stdout.buffer.write(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
