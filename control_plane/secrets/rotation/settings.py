"""How patient rotations are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationSettings:
    """Seconds. lease: how long after our start the ledger may still be incomplete. soak, drain: see machine.Timing.
    poll: how often key-value metadata is looked at for versions that an operator wrote.
    """

    lease: float = 30.0
    soak: float = 10.0
    drain: float = 60.0
    poll: float = 5.0
    tick: float = 0.25
