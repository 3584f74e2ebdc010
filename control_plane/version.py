"""Which release this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The installed distribution's version."""
    try:
        return version("bartizan")
    except PackageNotFoundError:
        return "0"
