"""Puts the issuers' keys into the configuration of Envoy's jwt_authn, which a bundle brings without any.

The same keys that workers get (sidecar/agent/jwks.py), less those that the guard would not use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.errors import InvalidInput
from bartizan.telemetry.logging import get_logger
from bartizan.xds.snapshot import Resources, pack
from protos.gen.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from protos.gen.envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication

_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "RSA": ("", "RS256", "PS256"),
    "EC P-256": ("", "ES256"),
    "OKP Ed25519": ("", "EdDSA"),
}
log = get_logger()


class EnvoyKeys:
    """Keys by issuer, ready for Envoy. An issuer without any leaves its tokens to the guard."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def set(self, issuer: str, jwks: Mapping[str, Any]) -> bool:
        """Take an issuer's JWK Set; False when nothing changes."""
        # brings the libraries of tokens along, which a policy of API keys does not need
        from sidecar.checks.authn.jwt import public_jwks

        try:
            usable = _known_to_envoy(public_jwks(jwks))
        except InvalidInput as error:
            log.warning("jwks_refused", issuer=issuer, reason=str(error))
            usable = []
        text = json.dumps({"keys": usable}, sort_keys=True) if usable else ""
        if self._keys.get(issuer, "") == text:
            return False
        self._keys[issuer] = text
        return True

    def clear(self) -> bool:
        """Leave all tokens to the guard; False when that is so already."""
        had = any(self._keys.values())
        self._keys.clear()
        return had

    def fill(self, templates: Resources) -> Resources:
        """A bundle's filter configurations with the keys that are known now."""
        return Resources.of({name: self._filled(item) for name, item in templates.items.items()})

    def _filled(self, item: AnyMessage) -> TypedExtensionConfig:
        extension = TypedExtensionConfig.FromString(item.value)
        config = JwtAuthentication()
        if extension.typed_config.Unpack(config):
            for name, provider in list(config.providers.items()):
                if keys := self._keys.get(provider.issuer):
                    provider.local_jwks.inline_string = keys
                else:
                    _leave_out(config, name)
            extension.typed_config.CopyFrom(pack(config))
        return extension


def _leave_out(config: JwtAuthentication, name: str) -> None:
    """An issuer without keys: Envoy takes no empty set. Requests that no rule matches are the guard's."""
    del config.providers[name]
    for rule in list(config.rules):
        named = rule.requires.requires_any.requirements
        kept = [one for one in named if one.provider_name != name]
        del named[:]
        named.extend(kept)
        if len(kept) < 2:  # nothing but "missing or failed"
            config.rules.remove(rule)


def _known_to_envoy(jwks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Keys that Envoy can read for certain. It refuses a whole configuration for a set of others, and would then go on
    with the keys from before.
    """
    return [key for key in jwks["keys"] if key.get("alg", "") in _ALGORITHMS.get(_kind(key), ())]


def _kind(key: Mapping[str, Any]) -> str:
    return f"{key['kty']} {key['crv']}" if "crv" in key else str(key["kty"])
