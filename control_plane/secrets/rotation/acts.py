"""What a state of a rotation asks for (machine.py): acts that may all be repeated until their observation comes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeKey:
    """Make the key `name` at the provider and store it; one that exists already under that name is reconciled."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAccepted:
    """Ask the verifier about the new generation."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Sidecars are to use this generation."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Which sidecars do not use this generation, or were last heard of with another one?"""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """Revoke g at the provider ("" : an operator does), then ask the verifier whether it is refused."""

    generation: int
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Revoke whatever exists under this name."""

    name: str


Effect = MakeKey | CheckAccepted | Publish | Compare | Revoke | Discard
