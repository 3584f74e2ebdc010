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
            self._note(definition.name, entry)
            generation = self._generation(definition.name, entry)
            if generation is None or await self._hands.hold(definition, generation):
                return
            await self._hands.fetch(definition, generation)
            if self._generation(definition.name, entry) is not None:  # no newer word while the value was read
                await self._hands.hold(definition, generation)

    async def hold(self, definition: SecretDefinition, entry: Entry) -> bool:
        """The same without asking for a value: while it is not here nobody gets an older one. True: this is news."""
        news = self._note(definition.name, entry)
        if (generation := self._generation(definition.name, entry)) is not None:
            await self._hands.hold(definition, generation)
        return news

    def _note(self, name: str, entry: Entry) -> bool:
        news = entry.version > self._versions.get(name, 0)
        if news:
            self._versions[name] = entry.version
        return news

    def _generation(self, name: str, entry: Entry) -> int | None:
        """None for an old word, and before there is any."""
        old = entry.version < self._versions.get(name, 0)
        return None if old or entry.state is None or not entry.state.emit else entry.state.emit
