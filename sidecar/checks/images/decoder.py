"""Asks Pillow about pictures, in a child process (checks/child/process.py) with bounded memory and no files."""

from __future__ import annotations

import importlib.util

from sidecar.checks.child.process import AskedProcess, Kind
from sidecar.checks.images.messages import Answer, Configure, Question

SECONDS = 4.0
"""For one body. Envoy waits two seconds longer where a policy looks at pictures."""
KIND = Kind(
    module="sidecar.checks.images.child",
    title="the image check",
    name="image",
    field="spec.input[].image",
    seconds=SECONDS,
    most=256 * 1024 * 1024,
)
_BASE = 768 * 1024 * 1024
"""Address space of Python and the decoders, most of it never touched."""
_PER_PIXEL = 24
"""Decoded, turned and written: four bytes each, and what the codecs need beside them."""


def available() -> bool:
    """Whether this installation has the decoders."""
    return importlib.util.find_spec("PIL") is not None


class Decoder:
    """One child, for pictures of at most so many pixels."""

    def __init__(self, max_pixels: int) -> None:
        memory = _BASE + _PER_PIXEL * max_pixels
        self._process = AskedProcess(KIND, Configure(memory=memory, seconds=int(SECONDS) + 1))

    def start(self) -> None:
        """Raises ResourceRejected when the decoders are missing."""
        self._process.start()

    def decode(self, question: Question, deadline: float) -> Answer:
        """`deadline` of time.monotonic. Raises ChildFailed."""
        return self._process.ask(question, Answer, deadline)
