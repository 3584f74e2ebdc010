"""Which bodies are inspected in a thread, so that they do not hold other requests of this worker up."""

from __future__ import annotations

OFFLOAD = 64 * 1024
OFFLOAD_QUOTES = 256
"""A body from this size on, or with this many quotation marks (two or more for each text of a JSON body), is heavy."""


def heavy(*pieces: bytes | bytearray) -> bool:
    """Whether these together take long to inspect."""
    size = 0
    for piece in pieces:
        size += len(piece)
    if size < OFFLOAD_QUOTES:
        return False
    return size >= OFFLOAD or sum(piece.count(b'"') for piece in pieces) >= OFFLOAD_QUOTES
