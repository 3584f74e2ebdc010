"""Secrets: where their values live and how they rotate. No route takes or gives a value."""

from __future__ import annotations

from typing import Any

from bartizan.api import RotationInfo, SecretInfo, SecretList
from bartizan.errors import NotFound
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts
from control_plane.api.routes.checked import label
from control_plane.policies.definitions import secret_info

ONE = "/v1/secrets/{name}"


def operations(parts: Parts) -> list[Operation]:
    async def define(call: Call) -> SecretInfo:
        return await parts.secrets.define(label(call.path["name"], "name"), call.body, call.actor)

    async def listed(_call: Call) -> SecretList:
        async with parts.store.begin() as work:
            rows = await work.secrets.all()
        return SecretList(secrets=tuple(secret_info(row) for row in rows))

    async def one(call: Call) -> SecretInfo:
        async with parts.store.begin() as work:
            row = await work.secrets.get(call.path["name"])
        if row is None:
            raise NotFound(f"no secret {call.path['name']}")
        return secret_info(row)

    async def rotate(call: Call) -> RotationInfo:
        return await parts.secrets.rotate(call.path["name"], call.actor)

    async def roll_back(call: Call) -> RotationInfo:
        return await parts.secrets.roll_back(call.path["name"], call.actor)

    async def rotation(call: Call) -> RotationInfo:
        return await parts.secrets.rotation(call.path["name"])

    return [
        Operation(
            method="GET",
            path="/v1/secrets",
            summary="All definitions, no values",
            handler=listed,
            permission=Permission.READ,
            answer=SecretList,
            tag="secrets",
        ),
        Operation(
            method="PUT",
            path=ONE,
            summary="Define a provider credential",
            handler=define,
            permission=Permission.MANAGE_SECRETS,
            request=dict[str, Any],
            answer=SecretInfo,
            other_statuses=(409,),
            tag="secrets",
        ),
        Operation(
            method="GET",
            path=ONE,
            summary="One definition, no value",
            handler=one,
            permission=Permission.READ,
            answer=SecretInfo,
            tag="secrets",
        ),
        Operation(
            method="POST",
            path=ONE + "/rotations",
            summary="Start a rotation",
            handler=rotate,
            permission=Permission.MANAGE_SECRETS,
            answer=RotationInfo,
            status=202,
            other_statuses=(409,),
            tag="secrets",
        ),
        Operation(
            method="POST",
            path=ONE + "/rotation/rollback",
            summary="Go back to the old key: possible until it is being revoked",
            handler=roll_back,
            permission=Permission.MANAGE_SECRETS,
            answer=RotationInfo,
            status=202,
            other_statuses=(409,),
            tag="secrets",
        ),
        Operation(
            method="GET",
            path=ONE + "/rotation",
            summary="Where the rotation stands",
            handler=rotation,
            permission=Permission.READ,
            answer=RotationInfo,
            tag="secrets",
        ),
    ]
