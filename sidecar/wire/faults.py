"""What an exception says outside: its type and place in logs, a status on the wire, never its message, which may hold
content.
"""

from __future__ import annotations

from pathlib import PurePath

from bartizan.telemetry.logging import get_logger
from sidecar.wire.engine import CallFailed
from sidecar.wire.grpc_frames import BadFrame
from sidecar.wire.grpc_status import INTERNAL

log = get_logger()


def describe(error: BaseException) -> dict[str, str]:
    """Fields for a log line."""
    place = ""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{PurePath(code.co_filename).name}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return {"error": type(error).__name__, "place": place}


def status_of(error: Exception) -> tuple[int, str]:
    """The gRPC status and text that end a call. What nobody raised on purpose is logged, and tells the peer nothing."""
    match error:
        case CallFailed(code=code) | BadFrame(code=code):
            return code or INTERNAL, str(error)
        case _:
            log.error("call_failed", error=type(error).__name__)
            return INTERNAL, "internal error"
