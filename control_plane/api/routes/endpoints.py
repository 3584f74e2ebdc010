"""Endpoints: the guarded models as callers find them, derived from the published policies and what is proven of them."""

from __future__ import annotations

from msgspec.structs import replace

from bartizan.api import EndpointInfo, EndpointList
from bartizan.errors import PolicyInvalid
from bartizan.policy.effective import Effective
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.status import policy_status
from control_plane.store.base import InEffectRow


def operations(parts: Parts) -> list[Operation]:
    async def endpoints(_call: Call) -> EndpointList:
        found = await parts.policies.in_effect()
        return EndpointList(endpoints=tuple(_endpoint(parts.ledger, row, made) for row, made in found))

    return [
        Operation(
            method="GET",
            path="/v1/endpoints",
            summary="All guarded models: where they listen, who may call, on how many sidecars that is proven",
            handler=endpoints,
            permission=Permission.READ,
            answer=EndpointList,
            tag="policies",
        ),
    ]


def _endpoint(ledger: Ledger, row: InEffectRow, made: Effective | PolicyInvalid) -> EndpointInfo:
    status = policy_status(ledger, row.name)
    info = EndpointInfo(
        policy=row.name,
        model="",
        protocol="",
        listen="",
        tenants=(),
        authn=(),
        mode="",
        version=row.version,
        enforced_count=status.enforced_count,
        total=status.total,
    )
    if isinstance(made, PolicyInvalid):
        return replace(info, problem="; ".join(f"{one.place}: {one.message}" for one in made.problems))
    spec = made.policy.spec
    return replace(
        info,
        model=spec.model.name,
        protocol=spec.model.protocol,
        listen=f"{'http' if spec.listener.tls == 'none' else 'https'}://{spec.listener.address}:{spec.listener.port}",
        tenants=spec.tenants,
        authn=(*(["apiKeys"] if spec.authn.api_keys else []), *(["jwt"] if spec.authn.jwt else [])),
        mode=spec.mode,
        key_set=spec.authn.api_keys.set if spec.authn.api_keys else "",
    )
