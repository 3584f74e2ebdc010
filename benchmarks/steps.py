"""Counts steps of Python's interpreter (byte code instructions) by function. Like calls they do not depend on the machine; they
also tell what a function does by itself. Python alone: nothing of what C code does, so that a callgrind beside it is no waste.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import CodeType, FrameType
from typing import Any


class Steps:
    """Switched on and off as a cProfile.Profile is."""

    def __init__(self) -> None:
        self.steps: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()

    def enable(self) -> None:
        sys.settrace(self._called)

    def disable(self) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, _event: str, _value: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.calls[frame.f_code] += 1
        return self._stepped

    def _stepped(self, frame: FrameType, event: str, _value: Any) -> Any:
        if event == "opcode":
            self.steps[frame.f_code] += 1
        return self._stepped

    def table(self, units: int) -> str:
        """All in one line, then the functions that do most."""
        total, calls = sum(self.steps.values()) / units, sum(self.calls.values()) / units
        lines = [f"{total:.0f} steps in {calls:.1f} calls of Python functions"]
        for code, steps in self.steps.most_common(40):
            lines.append(
                f"{steps / units:9.1f} steps {self.calls[code] / units:7.2f} calls  {code.co_qualname}"
            )
        return "\n".join(lines) + "\n"
