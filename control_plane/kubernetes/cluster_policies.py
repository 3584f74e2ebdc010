"""Objects of one kind of policy in the cluster: list, watch, write the status. Thin, over api_server.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from bartizan.errors import DependencyUnavailable
from bartizan.policy.reading import at
from bartizan.telemetry.logging import get_logger
from control_plane.kubernetes.api_server import PAGE, ApiServer
from control_plane.kubernetes.objects import GROUP, PLURAL, VERSION, PolicyObject

_ROOT = f"/apis/{GROUP}/{VERSION}"
log = get_logger()


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
            page = await self._server.get(f"{_ROOT}/{self._plural}", **query)
            try:
                metadata, items = page["metadata"], page["items"]
                version, more = str(metadata["resourceVersion"]), str(metadata.get("continue", ""))
            except (KeyError, TypeError) as error:
                raise DependencyUnavailable(f"the list of {self._plural} can't be read") from error
            found += [each for each in map(read, items) if each is not None]
            if not more:
                return found, version
            query["continue"] = more

    async def watch(self, version: str) -> AsyncIterator[tuple[str, PolicyObject | None, str]]:
        """Type, object and resource version of each event. Raises Gone when that version is too old."""
        async for kind, item in self._server.watch(f"{_ROOT}/{self._plural}", version):
            reached = str(at(item, "metadata", "resourceVersion", default=""))
            yield kind, None if kind == "BOOKMARK" else read(item), reached

    async def put_status(self, one: PolicyObject, status: dict[str, Any]) -> PolicyObject | None:
        """Raises NotFound when it is gone."""
        # What stands there and is not ours goes: a merge patch deletes what is null.
        body = {"status": {**dict.fromkeys(one.status), **status}}
        namespace, name = quote(one.metadata.namespace, safe=""), quote(one.metadata.name, safe="")
        where = f"{_ROOT}/namespaces/{namespace}" if namespace else _ROOT
        path = f"{where}/{self._plural}/{name}/status"
        return read(await self._server.merge(path, body))


def read(item: object) -> PolicyObject | None:
    """The object; None for one that can't be read, which no CRD of ours lets in."""
    try:
        return msgspec.convert(item, PolicyObject).without_what_is_too_large()
    except msgspec.ValidationError as error:
        namespace, name = (str(at(item, "metadata", key, default=""))[:253] for key in ("namespace", "name"))
        log.error("model_policy_unreadable", policy=f"{namespace}/{name}", reason=str(error))
        return None
