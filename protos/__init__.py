"""The protocol: our own .proto files, and all generated code in `protos.gen`.

What generated modules stand on is imported here, without protobuf's implementation of messages in Python and its text
format: C does both, but 1 MB of each process came along.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from google.protobuf.internal import api_implementation

_PURE = "google.protobuf.internal.python_message"
if api_implementation.Type() != "python" and _PURE not in sys.modules:
    sys.modules[_PURE] = ModuleType(_PURE)
    try:
        import_module("google.protobuf.internal.builder")
    finally:
        del sys.modules[_PURE]  # whoever wants it still gets it
