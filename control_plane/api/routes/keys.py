"""API-key sets. A key is in exactly one answer: the one that issued it."""

from __future__ import annotations

from bartizan.api import IssuedKey, IssueKey, KeyInfo, KeyList, KeySetInfo, KeySetList, KeySetStatus
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Operation
from control_plane.api.ports import Parts
from control_plane.api.routes.checked import label
from control_plane.api.routes.pages import LongPageQuery, cursor_of, place_of
from control_plane.store.base import KeySetRow

ONE = "/v1/key-sets/{set}"


def operations(parts: Parts) -> list[Operation]:
    keys = parts.keys

    async def create(call: Call) -> KeySetInfo:
        return _info(await keys.create_set(label(call.path["set"], "set"), call.actor))

    async def sets(_call: Call) -> KeySetList:
        return KeySetList(key_sets=tuple(_info(key_set) for key_set in await keys.sets()))

    async def issue(call: Call) -> IssuedKey:
        return await keys.issue(call.path["set"], call.body, call.actor)

    async def listed(call: Call) -> KeyList:
        page: LongPageQuery = call.query
        version, rows = await keys.keys(call.path["set"], after=place_of(page.cursor), limit=page.limit)
        last = rows[-1] if len(rows) == page.limit else None
        found = tuple(
            KeyInfo(
                id=row.record.id,
                tenant=row.record.tenant,
                plan=row.record.plan,
                region=row.record.region,
                models=row.record.models,
                created_at=row.created_at,
                created_by=row.created_by,
                expires_at=row.record.expires_at,
                revoked=row.record.revoked,
            )
            for row in rows
        )
        cursor = cursor_of((last.created_at, last.record.id) if last else None)
        return KeyList(name=call.path["set"], version=version, keys=found, cursor=cursor)

    async def one(call: Call) -> KeySetStatus:
        name = call.path["set"]
        version = await keys.version(name)
        users = parts.ledger.key_set_users(name)
        # Told to the ledger only after it is stored: until then nobody has the newest one.
        told = not users or parts.ledger.key_set_version(name) >= version
        behind = tuple(sorted(each for each, current in users.items() if not (current and told)))
        return KeySetStatus(name=name, version=version, total=len(users), behind=behind)

    async def revoke(call: Call) -> None:
        await keys.revoke(call.path["set"], call.path["key"], call.actor)

    return [
        Operation(
            method="GET",
            path="/v1/key-sets",
            summary="All key sets",
            handler=sets,
            permission=Permission.READ,
            answer=KeySetList,
            tag="keys",
        ),
        Operation(
            method="GET",
            path=ONE,
            summary="Who provably uses the newest version of a key set",
            handler=one,
            permission=Permission.READ,
            answer=KeySetStatus,
            tag="keys",
        ),
        Operation(
            method="PUT",
            path=ONE,
            summary="Make a key set; no change when it is there",
            handler=create,
            permission=Permission.MANAGE_KEYS,
            answer=KeySetInfo,
            other_statuses=(422,),
            tag="keys",
        ),
        Operation(
            method="POST",
            path=ONE + "/keys",
            summary="Issue a key: shown only in this answer",
            handler=issue,
            permission=Permission.MANAGE_KEYS,
            request=IssueKey,
            answer=IssuedKey,
            status=201,
            tag="keys",
        ),
        Operation(
            method="GET",
            path=ONE + "/keys",
            summary="Keys of a set in pages, the oldest first, revoked ones too; never the keys themselves",
            handler=listed,
            permission=Permission.READ,
            answer=KeyList,
            query=LongPageQuery,
            tag="keys",
        ),
        Operation(
            method="DELETE",
            path=ONE + "/keys/{key}",
            summary="Revoke a key",
            handler=revoke,
            permission=Permission.MANAGE_KEYS,
            answer=None,
            status=204,
            tag="keys",
        ),
    ]


def _info(row: KeySetRow) -> KeySetInfo:
    return KeySetInfo(
        name=row.name,
        version=row.version,
        keys=row.keys,
        cause=row.cause,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )
