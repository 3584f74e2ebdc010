"""`python -m sidecar.worker_start`: a guard worker whose process never loads OpenSSL.

asyncio and uvloop import `ssl` although a worker speaks on unix sockets alone, and `hashlib` prefers OpenSSL's digests
to Python's own: 5 MB together. Both are told here that it is not there; what wants TLS later can still import it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


class _NoTls(ModuleType):
    """Names are all that asyncio and uvloop take from `ssl` while they are imported: of numbers and of exceptions."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0 if name.isupper() else type(name, (Exception,), {})


def import_loops() -> None:
    """asyncio, uvloop and hashlib as if Python had been built without OpenSSL."""
    if sys.modules.keys() & {"asyncio", "ssl", "hashlib"}:
        return  # too late, and no harm
    sys.modules["ssl"] = _NoTls("ssl")
    sys.modules["_hashlib"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        for name in ("hashlib", "hmac", "asyncio", "uvloop"):
            import_module(name)
    finally:
        del sys.modules["ssl"], sys.modules["_hashlib"]


if __name__ == "__main__":
    import_loops()
    from sidecar.worker import main

    main()
