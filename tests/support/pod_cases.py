"""The cases of tests/golden/injector: a pod, where it is to run (namespace.yaml) and what differs in the configuration."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import msgspec
import yaml

from control_plane.injector.config import Config
from control_plane.injector.refusals import Namespace

FOLDER = Path(__file__).parents[1] / "golden" / "injector"
CASES = sorted(path.parent.name for path in FOLDER.glob("*/pod.yaml"))
IMAGE = f"registry.example/bartizan/sidecar@sha256:{'c' * 64}"


def case_pod(case: str) -> dict[str, Any]:
    """A copy: tests change what they get."""
    return copy.deepcopy(_read(FOLDER / case / "pod.yaml"))


@functools.cache
def _read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


def case_namespace(case: str) -> Namespace:
    file = FOLDER / case / "namespace.yaml"
    if not file.exists():
        return Namespace(name="prod", labels={"bartizan.dev/injection": "enabled"})
    given = _read(file)
    return Namespace(name=given["name"], labels=given["labels"])


def case_config(case: str) -> Config:
    file = FOLDER / case / "config.yaml"
    changed = _read(file) if file.exists() else {}
    return msgspec.convert({"image": IMAGE, **changed}, type=Config)
