"""Ctrl-C in a command that reads for long: the input ends there, and what was read is judged and written whole."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, Final, Self

_ASKING: Final = (signal.SIGINT, signal.SIGTERM)


class _Asked(Exception):
    """Out of a read that waits."""


class Interruption:
    """The first SIGINT or SIGTERM ends what `until` yields, the second the program. Main thread only."""

    def __init__(self) -> None:
        self.number = 0
        """Of the signal that came; 0 before."""
        self._reading = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._asked) for number in _ASKING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def until(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines up to the signal. One that is being read then is left out: nobody has seen it."""
        source = iter(lines)
        while True:
            try:
                self._reading = True  # before the look: a signal between the two raises
                line = None if self.number else next(source, None)
                self._reading = False
            except _Asked:
                return
            if line is None:
                return
            yield line

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        if self._reading:
            raise _Asked
