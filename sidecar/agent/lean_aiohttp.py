"""aiohttp without the machine's certificate authorities, which it reads twice while it is imported: 2 MB of the agent.

Import it from here where an agent runs. Whoever trusts those authorities gives its request `authorities()`: aiohttp's own
context trusts none here.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _no_authorities() -> Iterator[None]:
    """Inside, a context that asks for the machine's authorities gets none."""

    def nothing(self: ssl.SSLContext) -> None:
        """Hides the method of the class below this one, until it is deleted."""

    ssl.SSLContext.set_default_verify_paths = nothing  # type: ignore[method-assign]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths


with _no_authorities():
    import aiohttp
    from aiohttp import web
    from aiohttp.abc import AbstractResolver, ResolveResult


@functools.cache
def authorities() -> ssl.SSLContext:
    """For requests by https to anybody, as aiohttp would make it. Reads files: not on the event loop."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


__all__ = ["AbstractResolver", "ResolveResult", "aiohttp", "authorities", "web"]
