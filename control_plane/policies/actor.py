"""Who acts through the API, and the event that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from control_plane.store.base import AdminEvent, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """An authenticated caller. `tenants` limits audit queries; empty means all.

    origin: which policies it may change: those of the API, or those that are objects of the cluster.
    """

    token_id: str
    name: str
    role: str
    tenants: tuple[str, ...] = ()
    peer: str = ""
    request_id: str = ""
    origin: Origin = "api"

    @property
    def label(self) -> str:
        """How authors and actors are written down: the token's name and id."""
        return f"{self.name[:100]} ({self.token_id})"

    def event(
        self, now: float, act: str, target: str, detail: Mapping[str, object] | None = None
    ) -> AdminEvent:
        """An admin event of this caller; `detail` holds names and numbers only."""
        return AdminEvent(
            time=now,
            actor=self.label,
            act=act,
            target=target,
            detail=detail or {},
            request_id=self.request_id,
            peer=self.peer,
        )
