"""What a guard worker is told by its parent: inherited file descriptors and its socket. Everything else is a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from bartizan.errors import InvalidInput

Wire = Literal["builtin", "ngh2", "grpcio"]
WIRES = ("builtin", "ngh2", "grpcio")
DEFAULT_WIRE: Wire = "builtin"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """channel_fd, audit_fd: socket pairs to the agent. guard_socket: where Envoy's calls are answered, by the engine
    that `wire` names.
    """

    channel_fd: int
    audit_fd: int
    guard_socket: Path
    log_level: str = "info"
    wire: Wire = DEFAULT_WIRE

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> WorkerSettings:
        """Raises InvalidInput when the process was not started by an agent."""
        wire = environment.get("BARTIZAN_WIRE", DEFAULT_WIRE)
        if wire not in WIRES:
            raise InvalidInput(f"BARTIZAN_WIRE is one of {', '.join(WIRES)}")
        try:
            return cls(
                channel_fd=int(environment["BARTIZAN_CHANNEL_FD"]),
                audit_fd=int(environment["BARTIZAN_AUDIT_FD"]),
                guard_socket=Path(environment["BARTIZAN_GUARD_SOCKET"]),
                log_level=environment.get("BARTIZAN_LOG_LEVEL", "info"),
                wire=cast("Wire", wire),
            )
        except (KeyError, ValueError) as error:
            raise InvalidInput(
                f"a guard worker is started by its agent (python -m sidecar): bad or missing {error}"
            ) from error
