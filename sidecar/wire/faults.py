"""What may be logged of an unforeseen exception: its type and place, never its message, which may hold content."""

from __future__ import annotations

from pathlib import PurePath


def describe(error: BaseException) -> dict[str, str]:
    """Fields for a log line."""
    place = ""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{PurePath(code.co_filename).name}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return {"error": type(error).__name__, "place": place}
