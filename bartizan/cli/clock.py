"""Times as people read them, and durations as people write them."""

from __future__ import annotations

import datetime
import re
import time

import click

_DURATION = re.compile(r"^(\d+)([smhd])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def moment(seconds: float | None) -> str:
    """Local time to the second with its distance from UTC, as `--since` takes it; "" for None and 0."""
    if not seconds:
        return ""
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


class Duration(click.ParamType[int]):
    """90s, 15m, 12h, 30d; the value is in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _DURATION.match(str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: write 90s, 15m, 12h or 30d", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


class Moment(click.ParamType[float]):
    """A day or a time, ISO 8601, local unless it names its distance from UTC; the value is in seconds since the epoch."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return datetime.datetime.fromisoformat(str(value)).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is no time: write 2026-11-30, 2026-11-30T17:15 or …T17:15:00Z", param, ctx)


DURATION = Duration()
MOMENT = Moment()
LAST = click.option("--last", type=DURATION, help="Only the last 15m, 12h, 7d.")
SINCE = click.option("--since", type=MOMENT, help="Only from this time on: 2026-11-30, 2026-11-30T17:15Z.")
UNTIL = click.option("--until", type=MOMENT, help="Only before this time.")


def beginning(last: int | None, since: float | None) -> float | None:
    """In seconds since the epoch. Raises click.UsageError when both are given."""
    if last is not None and since is not None:
        raise click.UsageError("give --last or --since, not both")
    return time.time() - last if last is not None else since
