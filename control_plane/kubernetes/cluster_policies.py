"""Objects of one kind of policy in the cluster: list, watch, write the status. Thin, over api_server.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from bartizan.policy.documents import MAX_BYTES
from bartizan.telemetry.logging import get_logger
from control_plane.kubernetes.api_server import PAGE, UNREADABLE, ApiServer, decoded
from control_plane.kubernetes.objects import GROUP, PLURAL, VERSION, Metadata, PolicyObject

_ROOT = f"/apis/{GROUP}/{VERSION}"
log = get_logger()


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMetadata
    items: tuple[msgspec.Raw, ...]


class _Versioned(msgspec.Struct, frozen=True):
    metadata: _ListMetadata


class _Written(msgspec.Struct, frozen=True):
    """An object of 1.5 MB may say half a million lists, which are gigabytes and a minute: only small parts are decoded."""

    metadata: Metadata
    spec: msgspec.Raw = msgspec.Raw(b"null")
    status: msgspec.Raw = msgspec.Raw(b"{}")


class ClusterPolicies:
    """All calls raise DependencyError, and NotFound while the CRD is not installed."""

    def __init__(self, server: ApiServer, plural: str = PLURAL) -> None:
        self._server = server
        self._plural = plural

    async def list(self) -> tuple[Sequence[PolicyObject], str]:
        """All objects, and the resource version to watch from."""
        found: list[PolicyObject] = []
        query = {"limit": PAGE}
        while True:
            page = await self._server.read(f"{_ROOT}/{self._plural}", _Page, **query)
            version, more = page.metadata.resource_version, page.metadata.continue_
            found += [each for each in map(read, page.items) if each is not None]
            if not more:
                return found, version
            query["continue"] = more

    async def watch(self, version: str) -> AsyncIterator[tuple[str, PolicyObject | None, str]]:
        """Type, object and resource version of each event. Raises Gone when that version is too old."""
        async for kind, item in self._server.watch(f"{_ROOT}/{self._plural}", version):
            one = None if kind == "BOOKMARK" else read(item)
            yield kind, one, one.metadata.resource_version if one else _version_of(item)

    async def put_status(self, one: PolicyObject, status: dict[str, Any]) -> PolicyObject | None:
        """Raises NotFound when it is gone."""
        # What stands there and is not ours goes: a merge patch deletes what is null.
        body = {"status": {**dict.fromkeys(one.status), **status}}
        namespace, name = quote(one.metadata.namespace, safe=""), quote(one.metadata.name, safe="")
        where = f"{_ROOT}/namespaces/{namespace}" if namespace else _ROOT
        path = f"{where}/{self._plural}/{name}/status"
        return read(await self._server.merge(path, body))


def read(item: msgspec.Raw) -> PolicyObject | None:
    """The object; None for one that can't be read, which no CRD of ours lets in."""
    try:
        written = decoded(item, _Written)
        status = _status(written.status)
    except UNREADABLE as error:
        log.error("model_policy_unreadable", reason=str(error))
        return None
    size = _size(written.spec)
    large = size > MAX_BYTES
    return PolicyObject(
        metadata=written.metadata,
        spec=b"" if large else bytes(written.spec),
        status=status,
        too_large=size if large else 0,
    )


def _status(raw: msgspec.Raw) -> dict[str, Any]:
    """Ours; nothing of one that can't be."""
    if _size(raw) > MAX_BYTES:
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except RecursionError:
        return {}


def _size(raw: msgspec.Raw) -> int:
    return len(memoryview(raw))


def _version_of(item: msgspec.Raw) -> str:
    try:
        return decoded(item, _Versioned).metadata.resource_version
    except UNREADABLE:
        return ""
