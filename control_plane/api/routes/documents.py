"""Documents of either kind: apply and validate. Who may write a ModelPolicy may not therefore write a MeshPolicy."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from bartizan.api import Applied, Preview
from bartizan.errors import InvalidInput, Problem
from bartizan.policy.mesh import MeshPolicy
from bartizan.policy.schema import ModelPolicy
from control_plane.api.auth import Permission, check_permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts


class ApplyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rollout=false stores the revision without publishing it."""

    rollout: bool = True
    reason: Annotated[str, Meta(max_length=1000)] = ""


def operations(parts: Parts) -> list[Operation]:
    policies = parts.policies

    async def apply(call: Call) -> Applied:
        written = await policies.read(call.body)
        if written.is_mesh:
            check_permission(call.actor, Permission.WRITE_MESH)
        service = policies.meshes if written.is_mesh else policies
        return await service.apply(
            written,
            call.actor,
            rollout=call.query.rollout,
            reason=call.query.reason,
            expected=_if_match(call.headers.get("If-Match")),
        )

    async def validate(call: Call) -> Preview:
        written = await policies.read(call.body)
        service = policies.meshes if written.is_mesh else policies
        return await service.validate(written)

    return [
        Operation(
            method="POST",
            path="/v1/policies",
            summary="Apply a document of either kind: a new revision, published unless rollout=false",
            handler=apply,
            permission=Permission.WRITE_POLICIES,
            answer=Applied,
            tag="policies",
            request=(ModelPolicy, MeshPolicy),
            document=True,
            query=ApplyQuery,
            other_statuses=(409, 412),
            # A MeshPolicy is compiled and signed for each endpoint that it changes.
            timeout=300.0,
        ),
        Operation(
            method="POST",
            path="/v1/policies:validate",
            summary="Everything wrong with a document of either kind, and what it would change, without storing it",
            handler=validate,
            permission=Permission.READ,
            answer=Preview,
            tag="policies",
            request=(ModelPolicy, MeshPolicy),
            document=True,
            other_statuses=(409,),
            timeout=300.0,
        ),
    ]


def _if_match(header: str | None) -> int | None:
    if header is None:
        return None
    text = header.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        problem = Problem(path="If-Match", code="invalid_value", message='expected a revision number, as "3"')
        raise InvalidInput("the header If-Match is wrong", [problem])
    return int(text)
