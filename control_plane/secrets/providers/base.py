"""The port to a service that makes and verifies keys. One kind = one file here + one line in catalog.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bartizan.errors import DependencyRefused, DependencyUnavailable


class ProviderUnavailable(DependencyUnavailable):
    """It may answer later."""


class ProviderRefused(DependencyRefused):
    """It answered no, or something that we don't understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKey:
    """A new key; the provider shows it only once."""

    id: str
    key: str = field(repr=False)


class Provider(Protocol):
    """Every call has a deadline and raises ProviderUnavailable or ProviderRefused; messages never hold a key."""

    async def create(self, name: str) -> ProviderKey: ...
    async def names(self) -> Mapping[str, str]:
        """Key ids and the names given at their creation."""
        ...

    async def revoke(self, key_id: str) -> None:
        """From now on the key is refused. A key that is gone already is fine."""
        ...

    async def accepts(self, key: str) -> bool:
        """The verifier's own verdict. Raises ProviderUnavailable when it gave none."""
        ...
