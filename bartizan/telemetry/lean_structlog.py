"""structlog without what it imports only to paint tracebacks in a terminal: 5 MB of each process, and we write JSON.

Import it from here.
"""

from __future__ import annotations

import sys

_UNUSED = [name for name in ("rich", "better_exceptions", "greenlet") if name not in sys.modules]
for _name in _UNUSED:
    sys.modules[_name] = None  # type: ignore[assignment]  # an import of it fails, as where it is not installed
try:
    import structlog
finally:
    for _name in _UNUSED:
        del sys.modules[_name]

__all__ = ["structlog"]
