"""The secrets that Envoy gets from the agent's memory: listener certificates (files) and provider credentials (ADS).

Each has a generation. The version string that Envoy is sent lists "name=generation" of all, so that its admin
interface tells for every single secret which generation it uses (admin.py reads that back).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from bartizan.xds.snapshot import Resources, pack
from protos.gen.envoy.config.core.v3 import base_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2
from sidecar.agent.files import CertificatePair


@dataclass(frozen=True, slots=True)
class HeldSecret:
    """One secret as Envoy gets it."""

    generation: str
    secret: secret_pb2.Secret

    def __repr__(self) -> str:
        return f"HeldSecret(generation={self.generation!r})"


def certificate_secret(pair: CertificatePair) -> HeldSecret:
    """Chain and key in one message: never one without the other."""
    return HeldSecret(
        pair.generation,
        secret_pb2.Secret(
            name=pair.name,
            tls_certificate=common_pb2.TlsCertificate(
                certificate_chain=base_pb2.DataSource(inline_bytes=pair.chain),
                private_key=base_pb2.DataSource(inline_bytes=pair.key),
            ),
        ),
    )


def secret_resources(secrets: Mapping[str, HeldSecret]) -> Resources:
    """All secrets as one type of a snapshot."""
    items = {name: pack(held.secret) for name, held in sorted(secrets.items())}
    digest = hashlib.sha256()
    for name, item in items.items():
        digest.update(name.encode() + b"\0" + item.value)
    generations = [f"{name}={secrets[name].generation}" for name in items]
    # the digest keeps a version from meaning two contents, the rest is for people and for generation_of
    return Resources(" ".join([digest.hexdigest()[:12], *generations]), items)


def generation_of(name: str, version: str) -> str:
    """The generation of one secret in a version string made by secret_resources; "" when it is not in there."""
    for word in version.split(" ")[1:]:
        secret, _, generation = word.rpartition("=")
        if secret == name:
            return generation
    return ""
