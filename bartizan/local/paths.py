"""Where a laptop run keeps its state."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """BARTIZAN_HOME, else $XDG_DATA_HOME/bartizan, else ~/.local/share/bartizan."""
    if home := os.environ.get("BARTIZAN_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "bartizan"
