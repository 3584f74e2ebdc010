"""JSON logs on standard error: one constant snake_case event a line, ids as fields, redaction as last processor.

What libraries log by the standard module comes out the same way, as event `library_log`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

from opentelemetry import trace

from bartizan.telemetry.lean_structlog import structlog
from bartizan.telemetry.redact import redact_event

_LONGEST = 4096

Logger = structlog.stdlib.BoundLogger


class _Patient:
    """A stream whose failures are nobody's: a full disk below the log must not stop what is logged about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(component: str, level: str = "info") -> None:
    """Once per process, before the first log line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_trace,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact_event,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=_Patient(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(component=component)
    root = logging.getLogger()
    root.handlers = [_Libraries()]
    # Below that libraries tell every call, some with what was in it.
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))
    logging.captureWarnings(True)


class _Libraries(logging.Handler):
    """Hands records of the standard module to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            get_logger().log(
                record.levelno,
                "library_log",
                logger=record.name,
                message=record.getMessage()[:_LONGEST],
                exc_info=record.exc_info,
            )
        except Exception:
            # A record that can't be formatted: say at least whose it was.
            get_logger().error("library_log_unreadable", logger=record.name)


def _add_trace(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line.setdefault("trace_id", trace.format_trace_id(context.trace_id))
    return line


def get_logger() -> Logger:
    """A logger; fields given to its methods become JSON fields."""
    logger: Logger = structlog.get_logger()
    return logger
