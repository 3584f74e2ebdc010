"""A rotation seen from outside: gauge, log line, and one trace with a span for each phase and Vault's calls below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace

from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.tracing import below
from control_plane.secrets.rotation.machine import Phase, Rotation

log = get_logger()
_tracer = trace.get_tracer("bartizan.control_plane.rotation")
_TRACED_LOOKS = 16
"""A phase may wait for hours and look four times a second: later looks leave no spans."""


@dataclass(slots=True)
class _Open:
    intent: str
    phase: Phase
    span: trace.Span
    looks: int = 0


class PhaseSpans:
    """The open phases' spans of this replica."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    @contextmanager
    def within(self, state: Rotation) -> Iterator[None]:
        """What is done in here belongs to the state's phase."""
        known = self._open.get(state.secret)
        if known is None or (known.intent, known.phase) != (state.intent, state.phase):
            self.left(state.secret)
            known = self._open[state.secret] = _Open(state.intent, state.phase, _begin(state))
        known.looks += 1
        if known.looks > _TRACED_LOOKS:
            yield
            return
        with trace.use_span(known.span, record_exception=False, set_status_on_exception=False):
            yield

    def left(self, secret: str) -> None:
        """The phase is over, or somebody else goes on with it."""
        known = self._open.pop(secret, None)
        if known is not None:
            known.span.end()


def _begin(state: Rotation) -> trace.Span:
    if not state.trace:
        return trace.INVALID_SPAN
    return _tracer.start_span(
        f"rotation.{state.phase.value}",
        context=below(state.trace),
        start_time=int(state.phase_at * 1e9),
        attributes={"bartizan.secret_name": state.secret},
    )


def gauge(state: Rotation) -> None:
    """The phase it is in."""
    for phase in Phase:
        metrics.ROTATION_PHASE.labels(state.secret, phase.value).set(1 if phase is state.phase else 0)


def show(after: Rotation) -> None:
    """A new phase began."""
    log.info(
        "rotation_phase",
        secret_name=after.secret,
        phase=after.phase.value,
        emit=after.emit,
        intent=after.intent,
    )
