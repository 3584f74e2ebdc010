"""Which generation sidecars use, taken from the journal on every replica; an older word never overtakes a newer one."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from control_plane.secrets.definition import SecretDefinition
from control_plane.secrets.rotation.effects import Hands
from control_plane.secrets.rotation.journal import Entry


class Emits:
    """By the secrets' names."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._versions: dict[str, int] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, definition: SecretDefinition, entry: Entry) -> None:
        """Sidecars are to use what the journal says. Raises DependencyError while the value can't be had."""
        async with self._locks[definition.name]:
            if (generation := self._newer(definition, entry)) is not None:
                await self._hands.publish(definition, generation)

    async def hold(self, definition: SecretDefinition, entry: Entry) -> None:
        """The same without asking for a value: while it is not here nobody gets an older one."""
        if (generation := self._newer(definition, entry)) is not None:
            await self._hands.hold(definition, generation)

    def _newer(self, definition: SecretDefinition, entry: Entry) -> int | None:
        if (
            entry.state is None
            or not entry.state.emit
            or entry.version < self._versions.get(definition.name, 0)
        ):
            return None
        self._versions[definition.name] = entry.version
        return entry.state.emit
