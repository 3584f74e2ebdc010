"""Endpoints: the guarded models as callers find them, derived from the published policies and what is proven of them."""

from __future__ import annotations

from bartizan.api import EndpointInfo, EndpointList
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts
from control_plane.fleet.status import policy_status
from control_plane.policies.service import PolicyState


def operations(parts: Parts) -> list[Operation]:
    async def endpoints(_call: Call) -> EndpointList:
        published = [state for state in await parts.policies.states() if state.publication is not None]
        return EndpointList(endpoints=tuple([await _endpoint(parts, state) for state in published]))

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


async def _endpoint(parts: Parts, state: PolicyState) -> EndpointInfo:
    assert state.publication is not None
    spec = (await parts.policies.effective(state.row.name)).policy.spec
    status = policy_status(parts.ledger, state.row.name)
    methods = (*(["apiKeys"] if spec.authn.api_keys else []), *(["jwt"] if spec.authn.jwt else []))
    return EndpointInfo(
        policy=state.row.name,
        model=spec.model.name,
        protocol=spec.model.protocol,
        listen=f"{'http' if spec.listener.tls == 'none' else 'https'}://{spec.listener.address}:{spec.listener.port}",
        tenants=spec.tenants,
        authn=methods,
        mode=spec.mode,
        version=state.publication.version,
        enforced_count=status.enforced_count,
        total=status.total,
        key_set=spec.authn.api_keys.set if spec.authn.api_keys else "",
    )
