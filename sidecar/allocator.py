"""glibc's heap, kept small: what a plan or a large body needed for a moment goes back to the kernel.

By itself glibc raises the size from which blocks come from the kernel up to the largest body seen, keeps a heap for
each thread, and gives back only what is free at a heap's very end. With other C libraries nothing here has an effect.
"""

from __future__ import annotations

import ctypes
from typing import Final

_LIBC: Final = ctypes.CDLL(None)
_LARGE: Final = 131_072
_HEAPS: Final = 2
ENVIRONMENT: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(_LARGE),
    "MALLOC_TRIM_THRESHOLD_": str(_LARGE),
    "MALLOC_ARENA_MAX": str(_HEAPS),
}
"""For a child: the rules of `keep_small`, from its first moment on."""
# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_small() -> None:
    """Sets the rules for this process; before it has threads."""
    if hasattr(_LIBC, "mallopt"):
        for parameter, value in (
            (_M_TRIM_THRESHOLD, _LARGE),
            (_M_MMAP_THRESHOLD, _LARGE),
            (_M_ARENA_MAX, _HEAPS),
        ):
            _LIBC.mallopt(parameter, value)


def give_back() -> None:
    """Free pages inside the heaps go to the kernel: a few milliseconds, in which other threads of Python run."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
