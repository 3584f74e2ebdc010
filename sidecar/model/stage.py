"""Where an exchange (sidecar/exchange.py) stands."""

from __future__ import annotations

from enum import Enum, auto


class Stage(Enum):
    """Where the exchange is."""

    START = auto()
    REQUEST_BODY = auto()
    MODEL = auto()
    WITHHELD = auto()
    STREAMED = auto()
    PASSED = auto()
    """Answer bytes go through uninspected (shadow mode only); the reason is recorded."""
    DONE = auto()
    REFUSED = auto()
