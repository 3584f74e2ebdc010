"""Hatch build hook: generates protos/gen before a wheel or an editable install is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateProtos(BuildHookInterface[BuilderConfig]):
    """Runs protos/generate.py with the interpreter of the build environment."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        subprocess.run([sys.executable, str(Path(self.root) / "protos" / "generate.py")], check=True)
