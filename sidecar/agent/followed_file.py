"""A file that may be replaced or written at any time: what stands in it, whenever that is something else.

What the system says of the file is asked at each look; the file itself is read only if that differs, or after a while. A
rename shows as another inode, a write in place as another time of change, which nobody can set, whatever the size and
the time of writing. Two writes within one tick of that clock can leave all of it the same: hence the while.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from bartizan.telemetry.logging import get_logger

SURE_SECONDS = 5.0
"""So old a reading is never taken for the file, whatever the system says."""

log = get_logger()


class FollowedFile:
    """`content` is what was read last."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.content = b""
        self._clock = clock
        self._told: tuple[int, ...] = ()
        self._sure_until = 0.0
        self._trouble = ""

    def changed(self) -> bytes | None:
        """Its content, if that is another one than before. None, too, when it can't be read: that is logged once."""
        try:
            told = _told(self.path.stat())  # before reading: a write in between shows at the next look
            now = self._clock()
            if told == self._told and now < self._sure_until:
                return None
            content = self.path.read_bytes()
        except OSError as error:
            self._told = ()
            trouble = error.strerror or type(error).__name__
            if trouble != self._trouble:
                log.error("file_unreadable", file=str(self.path), reason=trouble)
            self._trouble = trouble
            return None
        self._told, self._sure_until, self._trouble = told, now + SURE_SECONDS, ""
        if content == self.content:
            return None
        self.content = content
        return content


def _told(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
