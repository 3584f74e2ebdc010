"""Who may get what: pure functions from published policies and one sidecar's identity to names of resources.

The identity is the sidecar's attested one; nothing that it says of itself gives it anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from google.protobuf.message import DecodeError

from bartizan.errors import InvalidInput
from bartizan.policy.bundle import Bundle
from bartizan.policy.canonical import plan_hash
from bartizan.xds.snapshot import Resources, pack
from control_plane.fleet.proof import Instance, Wanted
from control_plane.store.base import PublicationRow
from protos.gen.bartizan.policy.v1 import policy_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One policy's newest publication, with what a sidecar needs besides the bundle.

    secrets maps names to the text that stands before the value in the header.
    """

    wanted: Wanted
    bundle: Resources
    key_set: str
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """What one sidecar gets; policy is None where none selects it, or where more than one does (`ambiguous`).

    withheld: it can't enforce the bundle whole and keeps an older one; key sets and secrets still follow, because
    revoked keys must get everywhere.
    """

    policy: Published | None = None
    ambiguous: tuple[str, ...] = ()
    withheld: bool = False

    @property
    def bundles(self) -> frozenset[str]:
        return frozenset({self.policy.wanted.policy} if self.policy and not self.withheld else ())

    @property
    def key_sets(self) -> frozenset[str]:
        return frozenset({self.policy.key_set} if self.policy and self.policy.key_set else ())

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(self.policy.secrets if self.policy else ())


class _Labels(msgspec.Struct, rename="camel"):
    match_labels: dict[str, str]


class _Credential(msgspec.Struct):
    secret: str
    prefix: str = ""


class _Model(msgspec.Struct):
    credential: _Credential | None = None


class _Spec(msgspec.Struct):
    selector: _Labels
    model: _Model


class _Document(msgspec.Struct):
    """The few fields of a stored revision that decide here; whatever release wrote the rest."""

    spec: _Spec


def published(row: PublicationRow, document: str) -> Published:
    """A stored publication and the document of its revision. Raises InvalidInput when they can't be read."""
    try:
        message = policy_pb2.SignedBundle.FromString(row.bundle)
        bundle = msgspec.json.decode(message.payload, type=Bundle)
        spec = msgspec.json.decode(document, type=_Document).spec
    except (DecodeError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"publication {row.version} of {row.policy} can't be read") from error
    prefix = spec.model.credential.prefix if spec.model.credential else ""
    return Published(
        wanted=Wanted(
            policy=row.policy,
            namespace=row.policy.partition("/")[0],
            match_labels=spec.selector.match_labels,
            version=row.version,
            revision=row.revision,
            plan_hash=plan_hash(bundle.plan),
            requires=frozenset(bundle.requires),
            key_set=bundle.plan.api_key_set,
        ),
        # A version never comes again for other content, so "<policy>@<version>" says what a sidecar has.
        bundle=Resources(f"{row.policy}@{row.version}", {row.policy: pack(message)}),
        key_set=bundle.plan.api_key_set,
        secrets={source.name: prefix for source in bundle.secrets},
    )


def entitlement(
    instance: Instance, policies: Iterable[Published], capabilities: frozenset[str]
) -> Entitlement:
    """What this sidecar gets. `capabilities` as announced, empty while nothing was announced yet.

    Two policies for one sidecar are refused when they are applied; should it happen, it gets none, and so denies all.
    """
    selecting = [policy for policy in policies if policy.wanted.selects(instance)]
    if not selecting:
        return Entitlement()
    if len(selecting) > 1:
        return Entitlement(ambiguous=tuple(sorted(policy.wanted.policy for policy in selecting)))
    missing = selecting[0].wanted.requires - capabilities if capabilities else frozenset()
    return Entitlement(policy=selecting[0], withheld=bool(missing))
