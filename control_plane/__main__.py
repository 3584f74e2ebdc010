"""`python -m control_plane`: settings from the environment, then run until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys

from bartizan.errors import BartizanError, DependencyError, InvalidInput, leaves
from bartizan.telemetry.logging import configure, get_logger
from control_plane.settings import Settings, from_environment


async def _run(settings: Settings) -> None:
    # Seconds of imports, which whoever mistyped a setting need not wait for.
    from control_plane.app import run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> None:
    """Exit status: 0 after a signal, 1 when something failed, 2 for wrong settings, 5 when what we need isn't there."""
    try:
        settings = from_environment()
    except InvalidInput as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    configure("control-plane", settings.log_level)
    try:
        asyncio.run(_run(settings))
    except Exception as error:
        raise SystemExit(_report(error)) from None


def _report(error: Exception) -> int:
    """One line for each fault that is known, with a traceback only for what nobody expected; returns the status."""
    log = get_logger()
    faults = list(leaves(error))
    known = {str(each): each for each in faults if isinstance(each, BartizanError)}
    for reason, fault in known.items():
        log.error("control_plane_failed", error=type(fault).__name__, reason=reason)
    unexpected = [each for each in faults if not isinstance(each, BartizanError)]
    for each in unexpected:
        log.error("control_plane_failed", error=type(each).__name__, exc_info=each)
    return 5 if not unexpected and all(isinstance(each, DependencyError) for each in known.values()) else 1


if __name__ == "__main__":
    main()
