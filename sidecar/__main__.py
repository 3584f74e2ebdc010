"""`python -m sidecar`: the agent, the supervisor of a pod's Envoy and guard workers."""

from __future__ import annotations

import asyncio
import os
import sys

from bartizan.errors import BartizanError
from bartizan.telemetry.logging import configure
from sidecar import settings
from sidecar.app import run


def main() -> int:
    """Exit status 2 for wrong settings, 1 for a fault, 0 after a clean stop."""
    try:
        loaded = settings.load(os.environ)
    except BartizanError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure("agent", loaded.log_level)
    status = 0
    try:
        asyncio.run(run(loaded))
    except* BartizanError as failed:
        for problem in failed.exceptions:
            sys.stderr.write(f"{problem}\n")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
