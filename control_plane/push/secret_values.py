"""Values of secrets, one generation each, as Envoy resources for those who may have them. In memory only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.xds.snapshot import Resources, pack
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """What the emitters of a secret use, without any header prefix."""

    generation: int
    value: str = field(repr=False)


class SecretValues:
    """By the secrets' names."""

    def __init__(self) -> None:
        self._held: dict[str, _Value] = {}

    def put(self, name: str, generation: int, value: str | None) -> None:
        """From now on emitters use this generation; without its value nobody gets any."""
        if value is None:
            self._held.pop(name, None)
        else:
            self._held[name] = _Value(generation=generation, value=value)

    def resources(self, prefixes: Mapping[str, str]) -> Resources:
        """The version string names every secret's generation: "<name>@<generation>,…"."""
        items: dict[str, AnyMessage] = {}
        for name, prefix in sorted(prefixes.items()):
            held = self._held.get(name)
            if held is not None:
                secret = secret_pb2.Secret(name=name)
                secret.generic_secret.secret.inline_string = prefix + held.value
                items[name] = pack(secret)
        return Resources(",".join(f"{name}@{self._held[name].generation}" for name in items), items)
