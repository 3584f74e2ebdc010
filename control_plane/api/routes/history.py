"""What policies of both kinds answer alike: look back, compare, roll out, undo, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bartizan.api import Applied, Difference, Revision, RevisionDetail, RevisionList, RollOut
from bartizan.errors import NotFound
from control_plane.api.auth import Permission
from control_plane.api.openapi import Call, Handler, Operation
from control_plane.policies.meshes import MeshPolicies
from control_plane.policies.revisions import plain
from control_plane.policies.service import Policies
from control_plane.store.base import RevisionRow


class DiffQuery(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"before": "from", "after": "to"}
):
    """Revision numbers; `to` defaults to the newest."""

    before: Annotated[int, Meta(ge=1)]
    after: Annotated[int, Meta(ge=1)] | None = None


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """cursor: from the page before."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    cursor: Annotated[str, Meta(pattern=r"^([0-9]{1,9})?$")] = ""

    @property
    def before(self) -> int | None:
        return int(self.cursor) if self.cursor else None

    def next(self, numbers: Sequence[int]) -> str:
        """The cursor behind a page with these numbers."""
        return str(numbers[-1]) if len(numbers) == self.limit else ""


class HistoryRoutes:
    """Of one kind. name: of the policy that a call is about; changing: what changes have beside other operations."""

    def __init__(
        self,
        service: Policies | MeshPolicies,
        name: Callable[[Call], str],
        *,
        path: str,
        tag: str,
        write: Permission,
        changing: Mapping[str, Any],
    ) -> None:
        self._service = service
        self._name = name
        self._path = path
        self._tag = tag
        self._write = write
        self._changing = changing

    def read(
        self, below: str, summary: str, handler: Handler, answer: Any, *, path: str = "", **more: Any
    ) -> Operation:
        """path: of all policies, for what is not about one."""
        return Operation(
            method="GET",
            path=(path or self._path) + below,
            summary=summary,
            handler=handler,
            permission=Permission.READ,
            answer=answer,
            tag=self._tag,
            **more,
        )

    def change(
        self, method: str, below: str, summary: str, handler: Handler, answer: Any, **more: Any
    ) -> Operation:
        return Operation(
            method=method,
            path=self._path + below,
            summary=summary,
            handler=handler,
            permission=self._write,
            answer=answer,
            tag=self._tag,
            **self._changing,
            **more,
        )

    def operations(self, *, deleted: str) -> list[Operation]:
        """deleted: what a deletion means."""
        return [
            self.change("DELETE", "", f"Delete: {deleted}", self.delete, None, status=204),
            self.read("/revisions", "All revisions, newest first", self.revisions, RevisionList, query=PageQuery),
            self.read("/revisions/{number}", "One revision", self.revision, RevisionDetail),
            self.read("/diff", "What changed, and what does it loosen?", self.diff, Difference, query=DiffQuery),
            self.change("POST", "/rollouts", "Put a stored revision in effect", self.roll_out, Applied, request=RollOut),
            self.change("POST", "/undo", "Put in effect again what was before", self.undo, Applied),
        ]  # fmt: skip

    async def delete(self, call: Call) -> None:
        await self._service.delete(self._name(call), call.actor)

    async def revisions(self, call: Call) -> RevisionList:
        page: PageQuery = call.query
        rows = await self._service.revisions(self._name(call), limit=page.limit, before=page.before)
        return RevisionList(
            revisions=tuple(Revision(**_fields(row)) for row in rows),
            cursor=page.next([row.number for row in rows]),
        )

    async def revision(self, call: Call) -> RevisionDetail:
        row = await self._service.revision(self._name(call), number_in(call, "number", "revision"))
        return RevisionDetail(**_fields(row), document=plain(row.document))

    async def diff(self, call: Call) -> Difference:
        name = self._name(call)
        after = call.query.after or (await self._service.state(name)).row.revision
        changes, loosens = await self._service.diff(name, call.query.before, after)
        return Difference(
            from_revision=call.query.before, to_revision=after, changes=changes, loosens=loosens
        )

    async def roll_out(self, call: Call) -> Applied:
        return await self._service.roll_out(self._name(call), call.body.revision, call.actor)

    async def undo(self, call: Call) -> Applied:
        return await self._service.undo(self._name(call), call.actor)


def number_in(call: Call, part: str, what: str) -> int:
    """In a part of the path. Raises NotFound for what is no number."""
    number = call.path[part]
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise NotFound(f"no {what} {number[:20]!r}")
    return int(number)


def _fields(row: RevisionRow) -> dict[str, Any]:
    names = ("number", "author", "reason", "created_at", "digest")
    return {name: getattr(row, name) for name in names}
