"""Nothing of a bundle or key set is used before it passed here: signature, age, capabilities, one policy per sidecar."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import ipaddress
from collections.abc import Mapping

from bartizan.errors import ResourceRejected, RolledBack, SignatureInvalid, TrustError
from bartizan.identity import TrustDocument
from bartizan.policy.bundle import SCHEMA_VERSION, Bundle
from bartizan.policy.keyset import KeySet
from bartizan.policy.signing import key_id, verify_bundle, verify_key_set
from protos.gen.bartizan.identity.v1 import identity_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from sidecar.agent.versions import SeenVersions

SCHEMA_VERSIONS = tuple(range(1, SCHEMA_VERSION + 1))


class Verifier:
    """Checks against the out-of-band trust document and the versions seen before."""

    def __init__(self, seen: SeenVersions, capabilities: frozenset[str]) -> None:
        self._trust: TrustDocument | None = None
        self._keys: Mapping[str, bytes] = {}
        self._seen = seen
        self.capabilities = capabilities

    def trust(self, document: TrustDocument) -> None:
        """Trust this document from now on; before the first one everything is refused. Raises TrustError."""
        self._keys = verification_keys(document)
        self._trust = document

    def bundle(self, message: policy_pb2.SignedBundle) -> Bundle:
        """Raises ResourceRejected with a constant reason."""
        try:
            bundle = verify_bundle(message, self._keys, self._seen.bundle(message.name))
        except SignatureInvalid as error:
            raise ResourceRejected(f"signature_invalid: {error}") from error
        except RolledBack as error:
            raise ResourceRejected(f"rolled_back: {error}") from error
        if missing := set(bundle.requires) - self.capabilities:
            raise ResourceRejected(f"not_capable: {', '.join(sorted(missing))}")
        if bundle.plan.policy != bundle.policy or bundle.plan.id != f"{bundle.revision}.{bundle.version}":
            raise ResourceRejected("plan_does_not_match_bundle")
        try:
            ipaddress.ip_address(bundle.listener_address)
        except ValueError:
            raise ResourceRejected("listener_address_is_no_ip_address", "spec.listener.address") from None
        return bundle

    def key_set(self, message: identity_pb2.KeySet, now: dt.datetime | None = None) -> KeySet:
        """Raises ResourceRejected. `now`: when the signer's certificate had to be valid (a sealed copy: when saved)."""
        if self._trust is None:
            raise ResourceRejected("nothing_is_trusted_yet")
        try:
            return verify_key_set(
                message.name,
                message.payload,
                message.signature,
                list(message.chain),
                list(self._trust.roots),
                self._trust.trust_domain,
                self._seen.key_set(message.name),
                now,
            )
        except SignatureInvalid as error:
            raise ResourceRejected(f"signature_invalid: {error}") from error
        except RolledBack as error:
            raise ResourceRejected(f"rolled_back: {error}") from error


def verification_keys(trust: TrustDocument) -> Mapping[str, bytes]:
    """Raw keys by id. Raises TrustError when an id does not belong to its key."""
    keys = {}
    for name, text in trust.verification_keys.items():
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise TrustError(f"verification key {name} is no base64") from error
        if key_id(raw) != name:
            raise TrustError(f"verification key {name} has another id")
        keys[name] = raw
    return keys
