"""Admin tokens: make (the first one with the bootstrap token), list, revoke."""

from __future__ import annotations

from bartizan.api import IssuedToken, NewToken, TokenInfo, TokenList
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts


def operations(parts: Parts) -> list[Operation]:
    async def create(call: Call) -> IssuedToken:
        return await parts.tokens.create(call.body, call.actor)

    async def listed(_call: Call) -> TokenList:
        async with parts.store.begin() as work:
            rows = await work.tokens.all()
        return TokenList(
            tokens=tuple(
                TokenInfo(
                    id=row.id,
                    name=row.name,
                    role=row.role,
                    tenants=row.tenants,
                    created_at=row.created_at,
                    created_by=row.created_by,
                    expires_at=row.expires_at,
                    used_at=row.used_at,
                    revoked=row.revoked_at is not None,
                )
                for row in rows
            )
        )

    async def revoke(call: Call) -> None:
        await parts.tokens.revoke(call.path["token"], call.actor)

    return [
        Operation(
            method="POST",
            path="/v1/tokens",
            summary="Make a token: shown only in this answer",
            handler=create,
            permission=Permission.MANAGE_TOKENS,
            request=NewToken,
            answer=IssuedToken,
            status=201,
            tag="tokens",
        ),
        Operation(
            method="GET",
            path="/v1/tokens",
            summary="All tokens, never the tokens themselves",
            handler=listed,
            permission=Permission.MANAGE_TOKENS,
            answer=TokenList,
            tag="tokens",
        ),
        Operation(
            method="DELETE",
            path="/v1/tokens/{token}",
            summary="Revoke a token",
            handler=revoke,
            permission=Permission.MANAGE_TOKENS,
            answer=None,
            status=204,
            tag="tokens",
        ),
    ]
