"""The kind MeshPolicy as types: `defaults` and `overrides` for many endpoints.

Stands beside schema.py. How its parts and a ModelPolicy become one effective policy is in bartizan/policy/merge.py.
What belongs to one endpoint alone (selector, routes, the model's name, port, protocol) can't be said here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bartizan.policy.checks import InputCheck, OutputCheck
from bartizan.policy.quantities import Quantity
from bartizan.policy.schema import (
    Authn,
    Expression,
    Name,
    Node,
    Port,
    Protocol,
    RequestLimit,
    TlsFiles,
    Waf,
)

Priority = Annotated[int, Meta(ge=0, le=1000)]
_Label = Annotated[str, Meta(max_length=63)]
_Tenant = Annotated[str, Meta(min_length=1, max_length=128)]


class MeshMetadata(Node, frozen=True):
    """The document's name. A MeshPolicy stands in no namespace."""

    name: Name


class MeshSelector(Node, frozen=True):
    """Which endpoints, by their ModelPolicy. What is left out is no condition; all that is given must hold."""

    namespaces: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=256)] | UnsetType = UNSET
    model_labels: Annotated[dict[str, _Label], Meta(min_length=1)] | UnsetType = UNSET
    protocols: Annotated[tuple[Protocol, ...], Meta(min_length=1)] | UnsetType = UNSET

    def selects(self, namespace: str, labels: dict[str, str], protocol: str) -> bool:
        """Whether an endpoint with these properties is touched."""
        return (
            (self.namespaces is UNSET or namespace in self.namespaces)
            and (self.model_labels is UNSET or self.model_labels.items() <= labels.items())
            and (self.protocols is UNSET or protocol in self.protocols)
        )

    def meets(self, other: MeshSelector) -> bool:
        """Whether one endpoint could be touched by both."""
        mine, theirs = self.model_labels or {}, other.model_labels or {}
        return (
            _overlap(self.namespaces, other.namespaces)
            and _overlap(self.protocols, other.protocols)
            and all(theirs.get(key, value) == value for key, value in mine.items())
        )


def _overlap(one: Iterable[str] | UnsetType, other: Iterable[str] | UnsetType) -> bool:
    return one is UNSET or other is UNSET or not set(one).isdisjoint(other)


class SharedListener(Node, frozen=True):
    """Where clients connect, as far as many endpoints have it in common."""

    tls: TlsFiles | Literal["none"] | UnsetType = UNSET
    address: str | UnsetType = UNSET
    port: Port | UnsetType = UNSET


class SharedModel(Node, frozen=True):
    """What many models have in common."""

    virtual_patches: Literal["on", "off"] | UnsetType = UNSET


class DenyRule(Node, frozen=True):
    """A CEL rule that refuses. allow rules are alternatives to each other: one more would open what others close."""

    name: Name
    deny: Expression


class SharedBodyLimit(Node, frozen=True):
    """Bounds on request bodies."""

    max: Quantity | UnsetType = UNSET
    json_depth: Annotated[int, Meta(ge=1, le=256)] | UnsetType = UNSET


class SharedLimits(Node, frozen=True):
    """Bounds on what one caller may ask for."""

    requests: Annotated[tuple[RequestLimit, ...], Meta(min_length=1)] | UnsetType = UNSET
    body: SharedBodyLimit | UnsetType = UNSET


class SharedFailure(Node, frozen=True):
    """What happens when a check can't decide."""

    content: Literal["closed"] | UnsetType = UNSET


class SharedTelemetry(Node, frozen=True):
    """Tracing."""

    trace_sample: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET


class SharedSpec(Node, frozen=True):
    """Fields of a ModelPolicy's `spec`, in the same form, all optional."""

    listener: SharedListener | UnsetType = UNSET
    model: SharedModel | UnsetType = UNSET
    tenants: Annotated[tuple[_Tenant, ...], Meta(min_length=1)] | UnsetType = UNSET
    authn: Authn | UnsetType = UNSET
    authz: Annotated[tuple[DenyRule, ...], Meta(min_length=1)] | UnsetType = UNSET
    limits: SharedLimits | UnsetType = UNSET
    input: Annotated[tuple[InputCheck, ...], Meta(min_length=1)] | UnsetType = UNSET
    output: Annotated[tuple[OutputCheck, ...], Meta(min_length=1)] | UnsetType = UNSET
    waf: Waf | UnsetType = UNSET
    failure: SharedFailure | UnsetType = UNSET
    telemetry: SharedTelemetry | UnsetType = UNSET
    mode: Literal["enforce", "shadow"] | UnsetType = UNSET


class MeshPolicySpec(Node, frozen=True):
    """What holds for all selected endpoints."""

    selector: MeshSelector
    priority: Priority = 0
    defaults: SharedSpec | UnsetType = UNSET
    overrides: SharedSpec | UnsetType = UNSET


class MeshPolicy(Node, frozen=True):
    """Defaults and overrides for many endpoints."""

    api_version: Literal["bartizan.dev/v1alpha1"]
    kind: Literal["MeshPolicy"]
    metadata: MeshMetadata
    spec: MeshPolicySpec

    @property
    def name(self) -> str:
        """Its name everywhere outside the document: without a "/", so that no ModelPolicy can have it."""
        return self.metadata.name


PARTS = ("defaults", "overrides")
"""The two places of a MeshPolicy that hold fields of a ModelPolicy."""


def selector_of(document: dict[str, object]) -> MeshSelector:
    """The selector of a valid MeshPolicy's document."""
    spec = document["spec"]
    assert isinstance(spec, dict)
    return msgspec.convert(spec["selector"], MeshSelector)
