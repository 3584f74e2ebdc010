"""Sidecars: who there is, letting one in (join tokens), putting one out."""

from __future__ import annotations

from bartizan.api import InstanceList, IssuedJoinToken, JoinTokenInfo, JoinTokenList, NewJoinToken
from bartizan.errors import IdentityRefused, InvalidInput, NotFound, Problem
from bartizan.identity import WorkloadId, new_secret, secret_hash
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts
from control_plane.api.routes.pages import LongPageQuery, cursor_of, place_of
from control_plane.fleet.status import instance_info
from control_plane.store.base import JoinTokenRow

# Expired tokens are kept this long, so that "used" and "expired" can still be told apart in an investigation.
_KEEP_EXPIRED_SECONDS = 7 * 86400


def operations(parts: Parts) -> list[Operation]:
    async def instances(call: Call) -> InstanceList:
        page: LongPageQuery = call.query
        async with parts.store.begin() as work:
            rows = await work.instances.all(after=place_of(page.cursor), limit=page.limit)
        last = rows[-1] if len(rows) == page.limit else None
        return InstanceList(
            instances=tuple(instance_info(parts.ledger, row) for row in rows),
            cursor=cursor_of((last.created_at, last.instance_id) if last else None),
        )

    async def remove(call: Call) -> None:
        instance_id, now = call.path["instance"], parts.clock()
        async with parts.store.begin() as work:
            if not await work.instances.remove(instance_id, at=now):
                raise NotFound(f"no instance {instance_id}")
            await work.events.record(call.actor.event(now, "instance.remove", instance_id))
        parts.ledger.dismiss(instance_id)
        await parts.removed(instance_id)

    async def join_token(call: Call) -> IssuedJoinToken:
        ask: NewJoinToken = call.body
        _check(ask, parts.trust_domain)
        secret = new_secret()
        # First the whole token: without a trust document there is nothing to record.
        token = await parts.join_token(secret)
        async with parts.store.begin() as work:
            # It lives for minutes, and another replica will be asked to take it: by the clock that all share.
            now = await work.now()
            row = JoinTokenRow(
                hash=secret_hash(secret),
                spiffe_id=ask.spiffe_id,
                labels=ask.labels,
                created_at=now,
                created_by=call.actor.label,
                expires_at=now + ask.ttl_seconds,
            )
            await work.join_tokens.purge(before=now - _KEEP_EXPIRED_SECONDS)
            await work.join_tokens.add(row)
            detail = {"id": row.id, "labels": ask.labels, "ttl_seconds": ask.ttl_seconds}
            await work.events.record(call.actor.event(now, "join_token.create", ask.spiffe_id, detail))
        return IssuedJoinToken(token=token, expires_at=row.expires_at, id=row.id)

    async def join_tokens(_call: Call) -> JoinTokenList:
        async with parts.store.begin() as work:
            rows = await work.join_tokens.open(at=await work.now())
        return JoinTokenList(
            join_tokens=tuple(
                JoinTokenInfo(
                    id=row.id,
                    spiffe_id=row.spiffe_id,
                    labels=dict(row.labels),
                    created_at=row.created_at,
                    created_by=row.created_by,
                    expires_at=row.expires_at,
                )
                for row in rows
            )
        )

    async def revoke(call: Call) -> None:
        token_id = call.path["token"]
        async with parts.store.begin() as work:
            now = await work.now()
            if not await work.join_tokens.revoke(token_id, at=now):
                raise NotFound(f"no join token {token_id} that may still be used")
            await work.events.record(call.actor.event(now, "join_token.revoke", token_id))

    return [
        Operation(
            method="GET",
            path="/v1/instances",
            summary="Sidecars with what they last said, in pages, the oldest first",
            handler=instances,
            permission=Permission.READ,
            answer=InstanceList,
            query=LongPageQuery,
            tag="fleet",
        ),
        Operation(
            method="DELETE",
            path="/v1/instances/{instance}",
            summary="Put a sidecar out: no renewal, no bundles",
            handler=remove,
            permission=Permission.MANAGE_FLEET,
            answer=None,
            status=204,
            tag="fleet",
        ),
        Operation(
            method="POST",
            path="/v1/join-tokens",
            summary="A single-use token that lets one sidecar attest: shown only in this answer",
            handler=join_token,
            permission=Permission.MANAGE_FLEET,
            request=NewJoinToken,
            answer=IssuedJoinToken,
            status=201,
            tag="fleet",
        ),
        Operation(
            method="GET",
            path="/v1/join-tokens",
            summary="Join tokens that may still be used, never the tokens themselves",
            handler=join_tokens,
            permission=Permission.READ,
            answer=JoinTokenList,
            tag="fleet",
        ),
        Operation(
            method="DELETE",
            path="/v1/join-tokens/{token}",
            summary="Revoke a join token that was not used yet",
            handler=revoke,
            permission=Permission.MANAGE_FLEET,
            answer=None,
            status=204,
            tag="fleet",
        ),
    ]


def _check(ask: NewJoinToken, trust_domain: str) -> None:
    problems: list[Problem] = []
    try:
        workload = WorkloadId.parse(ask.spiffe_id)
    except IdentityRefused as error:
        problems.append(Problem(path="spiffe_id", code="invalid_value", message=str(error)))
    else:
        if workload.trust_domain != trust_domain:
            message = f"the trust domain here is {trust_domain}"
            problems.append(Problem(path="spiffe_id", code="foreign_trust_domain", message=message))
    if len(ask.labels) > 32 or any(
        not key or len(key) > 128 or len(value) > 128 for key, value in ask.labels.items()
    ):
        message = "at most 32 labels, keys and values of at most 128 characters"
        problems.append(Problem(path="labels", code="too_large", message=message))
    if problems:
        raise InvalidInput("the join token can't be made", problems)
