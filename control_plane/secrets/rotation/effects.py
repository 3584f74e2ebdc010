"""What a rotation does to the world: provider keys, key-value versions, publications. Every act may be repeated."""

from __future__ import annotations

from typing import Protocol

from bartizan.errors import Conflict, DependencyRefused, NotFound
from control_plane.secrets.base import SecretBackend, SecretVersion
from control_plane.secrets.definition import SecretDefinition
from control_plane.secrets.providers import catalog
from control_plane.secrets.providers.base import Provider
from control_plane.secrets.rotation.machine import Rotation

_KEPT = 64
"""Values held in memory, so that publishing and comparing go on while Vault is away."""


class ValueUnusable(DependencyRefused):
    """What is stored can't be sent as a header."""


class Publish(Protocol):
    """Implemented by push: sidecars that may have this secret get it as an Envoy secret of version `generation`.

    The same generation again is a no-op. Without a value nobody gets it anew; who has it keeps it.
    """

    async def __call__(self, name: str, generation: int, value: str | None) -> None: ...


class Confirm(Protocol):
    """Raises Conflict unless this replica still leads: an act that can't be taken back comes next."""

    async def __call__(self) -> None: ...


class Hands:
    """The acts behind the machine's effects. Raises DependencyError and NotFound; no message holds a value."""

    def __init__(self, backend: SecretBackend, publish: Publish, confirm: Confirm) -> None:
        self._backend = backend
        self._confirm = confirm
        self._publish = publish
        self._values: dict[tuple[str, int], str] = {}
        self._published: dict[str, int] = {}

    async def make(self, definition: SecretDefinition, state: Rotation) -> int:
        """The key-value version that holds the new key.

        A crash may have left a key whose value nobody knows (made, not stored): such ones are revoked, so that in
        the end exactly one key of this intent exists and it is the stored one.
        """
        provider = await self._provider(definition)
        ours = {key_id for key_id, name in (await provider.names()).items() if name == state.key_name}
        newest = await self.newest(definition)
        stored = await self._read(definition, newest) if newest > state.base_version else None
        kept = ""
        if stored is not None:
            if stored.data.get("intent") == state.intent and stored.data.get("provider_id", "") in ours:
                kept = stored.data["provider_id"]
            elif "intent" in stored.data:
                stored = None
        await self._confirm()
        for key_id in ours - {kept}:
            await provider.revoke(key_id)
        if stored is not None:  # ours from before a crash, or an operator's who was faster
            return stored.version
        made = await provider.create(state.key_name)
        data = {"value": made.key, "provider_id": made.id, "intent": state.intent}
        try:
            return await self._backend.kv_write(definition.path, data, cas=newest)
        except (
            Conflict
        ):  # while we were stopped another replica made one, or an operator wrote one: ours is nobody's
            await provider.revoke(made.id)
            raise

    async def _provider(self, definition: SecretDefinition) -> Provider:
        path = definition.provider.headers_path
        headers = (await self._backend.kv_read(path)).data if path else {}
        return catalog.build(definition.provider, headers)

    async def accepted(self, definition: SecretDefinition, generation: int) -> bool:
        """The verifier's verdict on a generation."""
        provider = await self._provider(definition)
        return await provider.accepts(await self._value(definition, generation))

    async def fetch(self, definition: SecretDefinition, generation: int) -> None:
        """Read its value, so that `hold` can publish it."""
        await self._value(definition, generation)

    async def hold(self, definition: SecretDefinition, generation: int) -> bool:
        """Publish it if its value is known here; else take back another generation, which may be revoked by now.

        Whether it is published.
        """
        name, value = definition.name, self._values.get((definition.path, generation))
        known = self._published.get(name)
        if known == generation or (value is None and known is None):
            return known == generation
        if value is None:
            await self.withdraw(name, generation)
            return False
        await self._publish(name, generation, value)
        self._published[name] = generation
        return True

    async def withdraw(self, name: str, generation: int = 0) -> None:
        """Nobody gets it anew: the value of the generation that counts is not known here, or (0) not even which it is."""
        if self._published.pop(name, None) is not None:
            await self._publish(name, generation, None)

    async def revoke(self, definition: SecretDefinition, generation: int, key_id: str) -> bool:
        """Revoke where we can; returns whether the verifier still accepts the generation."""
        provider = await self._provider(definition)
        if key_id:
            await self._confirm()
            await provider.revoke(key_id)
        try:
            value = await self._value(definition, generation)
        except NotFound:  # its value is destroyed already: the provider's list has to do as proof
            return not key_id or key_id in await provider.names()
        return await provider.accepts(value)

    async def discard(self, definition: SecretDefinition, name: str) -> None:
        provider = await self._provider(definition)
        doomed = [key_id for key_id, known in (await provider.names()).items() if known == name]
        await self._confirm()
        for key_id in doomed:
            await provider.revoke(key_id)

    async def newest(self, definition: SecretDefinition) -> int:
        """Number of the newest key-value version, 0 when there is none."""
        try:
            return (await self._backend.kv_metadata(definition.path)).current_version
        except NotFound:
            return 0

    async def key_id(self, definition: SecretDefinition, generation: int) -> str:
        """The provider's id of a generation, "" when whoever wrote it did not say."""
        stored = await self._read(definition, generation)
        return stored.data.get("provider_id", "") if stored is not None else ""

    async def written_by_operator(self, definition: SecretDefinition, generation: int) -> bool:
        stored = await self._read(definition, generation)
        return stored is not None and "intent" not in stored.data and "value" in stored.data

    async def _read(self, definition: SecretDefinition, generation: int) -> SecretVersion | None:
        try:
            return await self._backend.kv_read(definition.path, generation)
        except NotFound:
            return None

    async def _value(self, definition: SecretDefinition, generation: int) -> str:
        known = self._values.get((definition.path, generation))
        if known is not None:
            return known
        value = (await self._backend.kv_read(definition.path, generation)).data.get("value")
        # It becomes a header: anything else in it could smuggle a second one.
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise ValueUnusable(
                f"version {generation} of {definition.path} holds no usable field `value`: "
                "printable ASCII without a line end"
            )
        self._values[definition.path, generation] = value
        while len(self._values) > _KEPT:
            del self._values[next(iter(self._values))]
        return value
