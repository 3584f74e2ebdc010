"""`python -m control_plane`: settings from the environment, then run until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys

from bartizan.errors import BartizanError, InvalidInput
from bartizan.telemetry.logging import configure, get_logger
from control_plane.app import run
from control_plane.settings import Settings, from_environment


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> None:
    """Exit status: 0 after a signal, 1 when something failed, 2 when the settings are wrong."""
    try:
        settings = from_environment()
    except InvalidInput as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    configure("control-plane", settings.log_level)
    log = get_logger()
    try:
        asyncio.run(_run(settings))
    except BartizanError as error:
        log.error("control_plane_failed", error=type(error).__name__, reason=str(error))
        raise SystemExit(1) from None
    except Exception as error:
        log.exception("control_plane_failed", error=type(error).__name__)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
