"""Which of an issuer's keys Envoy is given, and that it is given none rather than a set that it would refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from bartizan.policy.bundle import EnvoyResources
from bartizan.policy.names import TYPE_EXTENSION
from bartizan.xds.resources import to_json
from bartizan.xds.snapshot import Resources
from control_plane.compile.envoy.filters.jwt_authn import extension
from control_plane.compile.resolve import resolve
from protos.gen.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from protos.gen.envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication
from sidecar.agent.changes import Changes
from sidecar.agent.envoy_config import EnvoyConfig
from sidecar.agent.envoy_keys import EnvoyKeys
from tests.support.compiled import policy

ONE, TWO = "https://one.example", "https://two.example"
RSA = RSAKey.generate_key(2048, private=False).as_dict(private=False) | {"kid": "rsa"}
EC = ECKey.generate_key("P-256", private=False).as_dict(private=False) | {"kid": "ec"}
ED = OKPKey.generate_key("Ed25519", private=False).as_dict(private=False) | {"kid": "ed"}


def resources() -> EnvoyResources:
    jwt = [{"issuer": issuer, "audiences": ["a"], "claims": {"tenant": "t"}} for issuer in (ONE, TWO)]
    made = extension(resolve(policy(authn={"jwt": jwt}), revision=1, version=1))
    assert made is not None
    return EnvoyResources(extensions=(to_json(made),))


def filled(keys: EnvoyKeys) -> JwtAuthentication:
    return config(keys.fill(EnvoyConfig.read(resources())[TYPE_EXTENSION]))


def config(served: Resources) -> JwtAuthentication:
    (item,) = served.items.values()
    message = JwtAuthentication()
    assert TypedExtensionConfig.FromString(item.value).typed_config.Unpack(message)
    return message


def given(message: JwtAuthentication) -> dict[str, list[str]]:
    """kids by issuer."""
    return {
        issuer: [key["kid"] for key in json.loads(provider.local_jwks.inline_string)["keys"]]
        for issuer, provider in message.providers.items()
    }


def test_keys_stand_at_their_issuer() -> None:
    keys = EnvoyKeys()
    assert keys.set(ONE, {"keys": [RSA, EC]})
    assert keys.set(TWO, {"keys": [ED]})
    message = filled(keys)
    assert given(message) == {ONE: ["rsa", "ec"], TWO: ["ed"]}
    (rule,) = message.rules
    named = [one.WhichOneof("requires_type") for one in rule.requires.requires_any.requirements]
    assert named == ["provider_name", "provider_name", "allow_missing_or_failed"]


def test_an_issuer_without_keys_is_left_out_and_then_nothing_names_it() -> None:
    keys = EnvoyKeys()
    keys.set(TWO, {"keys": [RSA]})
    message = filled(keys)
    assert list(message.providers) == [TWO]
    assert [one.provider_name for one in message.rules[0].requires.requires_any.requirements] == [TWO, ""]
    keys.set(TWO, {"keys": []})
    assert not filled(keys).providers
    assert not filled(keys).rules


@pytest.mark.parametrize(
    "key",
    [
        {**RSA, "kid": ""},
        {**RSA, "use": "enc"},
        {**RSA, "alg": "RS512"},
        {**EC, "alg": "RS256"},
        {**ED, "alg": "Ed25519"},
        {**RSA, "e": "x"},
        {name: value for name, value in RSA.items() if name != "kid"},
        ECKey.generate_key("P-521", private=False).as_dict(private=False) | {"kid": "p521"},
        OKPKey.generate_key("X25519", private=False).as_dict(private=False) | {"kid": "x"},
        OctKey.generate_key(256).as_dict() | {"kid": "oct"},
    ],
    ids=lambda key: f"{key.get('kid')} {key['kty']} {key.get('alg', '')} {key.get('crv', '')}",
)
def test_keys_that_the_guard_or_envoy_may_not_use_stay_out(key: dict[str, Any]) -> None:
    keys = EnvoyKeys()
    assert not keys.set(ONE, {"keys": [key]})
    keys.set(ONE, {"keys": [key, EC | {"kid": "fine"}]})
    assert given(filled(keys)) == {ONE: ["fine"]}


def test_an_ambiguous_set_takes_the_keys_away() -> None:
    keys = EnvoyKeys()
    keys.set(ONE, {"keys": [RSA]})
    assert keys.set(ONE, {"keys": [RSA, {**EC, "kid": "rsa"}]})
    assert not filled(keys).providers


def test_new_keys_change_the_filter_alone_and_a_refused_set_is_taken_back() -> None:
    served = EnvoyConfig(Changes())
    snapshot = served.publish(EnvoyConfig.read(resources()))
    for kind, part in snapshot.types.items():
        served.on_ack(kind, part.version)
    assert served.acked(snapshot)
    served.set_jwks(ONE, {"keys": [RSA]})
    assert not served.acked(snapshot)
    newest = served._publication.current
    changed = {kind for kind in newest.types if newest.types[kind] != snapshot.types[kind]}
    assert changed == {TYPE_EXTENSION}
    served.on_ack(TYPE_EXTENSION, newest.types[TYPE_EXTENSION].version)
    assert served.acked(snapshot)
    served.set_jwks(ONE, {"keys": [EC]})
    refused = served._publication.current.types[TYPE_EXTENSION]
    assert given(config(refused)) == {ONE: ["ec"]}
    served.on_nack(TYPE_EXTENSION, refused.version, "can't be read")
    fallback = served._publication.current.types[TYPE_EXTENSION]
    assert not config(fallback).providers
    served.on_ack(TYPE_EXTENSION, fallback.version)
    assert served.acked(snapshot)
