"""What the routes need of other parts, as narrow ports; control_plane/app.py plugs the real parts in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bartizan.api import RotationInfo, SecretInfo
from control_plane.api.auth import Tokens
from control_plane.fleet.ledger import Ledger
from control_plane.policies.actor import Actor
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.store.base import Store


class Secrets(Protocol):
    """Definitions of secrets and their rotation. Values never come through here."""

    async def define(self, name: str, definition: Mapping[str, Any], actor: Actor) -> SecretInfo:
        """Raises InvalidInput. A new definition starts its first rotation."""
        ...

    async def rotate(self, name: str, actor: Actor) -> RotationInfo:
        """Start a rotation. Raises NotFound, Conflict when one is under way."""
        ...

    async def roll_back(self, name: str, actor: Actor) -> RotationInfo:
        """Back to the old key. Raises NotFound, Conflict when it is too late."""
        ...

    async def rotation(self, name: str) -> RotationInfo:
        """Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that the routes stand on."""

    store: Store
    policies: Policies
    keys: Keys
    tokens: Tokens
    ledger: Ledger
    secrets: Secrets
    trust: Callable[[], Awaitable[bytes]]
    """Canonical bytes of the TrustDocument."""
    removed: Callable[[str], Awaitable[None]]
    """An instance was put out: whoever serves it closes its streams."""
    join_token: Callable[[str], Awaitable[str]]
    """The whole join token (addresses and trust digest) around its secret part."""
    not_ready: Callable[[], Sequence[str]]
    """Constant reasons why this replica can't do its work yet; empty when it can."""
    version: str
    trust_domain: str
    clock: Callable[[], float]
