"""What an admission check is: may this caller use one more share now? All of a policy's must pass."""

from __future__ import annotations

from typing import Protocol

from sidecar.model.decision import Cause
from sidecar.model.request import Identity
from sidecar.model.value import Value


class Turned(Value, frozen=True, kw_only=True):
    """Turned away; `retry_after` in seconds."""

    cause: Cause
    retry_after: float
    detail: str = ""


class Admission(Protocol):
    """One kind of limit of one policy."""

    def admit(self, identity: Identity, stream_id: str) -> Turned | None:
        """None admits. Asking twice for one `stream_id` (a retried call) charges once and answers the same."""
