"""`python -m sidecar`: the agent, the supervisor of a pod's Envoy and guard workers."""

from __future__ import annotations

import asyncio
import os
import sys

from bartizan.errors import BartizanError, leaves
from bartizan.telemetry.logging import configure, get_logger
from sidecar import settings
from sidecar.allocator import keep_small
from sidecar.app import run


def main() -> int:
    """Exit status 2 for wrong settings, 1 for a fault, 0 after a clean stop."""
    try:
        loaded = settings.load(os.environ)
    except BartizanError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure("agent", loaded.log_level)
    keep_small()
    try:
        asyncio.run(run(loaded))
    except Exception as error:
        log = get_logger()
        faults = list(leaves(error))
        # Several parts may fail of one cause; a traceback is only for what nobody expected.
        for reason, kind in {
            str(each): type(each) for each in faults if isinstance(each, BartizanError)
        }.items():
            log.error("agent_failed", error=kind.__name__, reason=reason)
        for each in faults:
            if not isinstance(each, BartizanError):
                log.error("agent_failed", error=type(each).__name__, exc_info=each)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
