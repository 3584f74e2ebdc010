"""What the injector reads from and keeps in a cluster, over control_plane/kubernetes/api_server.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from bartizan.errors import InvalidInput, NotFound
from bartizan.policy.effective import effective_policy
from bartizan.policy.schema import API_VERSION, ModelPolicy
from bartizan.policy.validate import Mesh, Written, read_mesh, read_policy
from bartizan.telemetry.logging import get_logger
from control_plane.injector import names
from control_plane.injector.refusals import Namespace
from control_plane.injector.workloads import namespace_of
from control_plane.kubernetes.api_server import PAGE, ApiServer, connect

_AUDITED: Final = (
    ("Namespace", "v1", "/api/v1", "namespaces"),
    ("Pod", "v1", "/api/v1", "pods"),
    ("Service", "v1", "/api/v1", "services"),
    ("NetworkPolicy", "networking.k8s.io/v1", "/apis/networking.k8s.io/v1", "networkpolicies"),
)
_KEPT_SECONDS: Final = 10.0
_MOST_KEPT: Final = 10_000
_PODS_OF_A_PAGE: Final = "500"

T = TypeVar("T")

log = get_logger()


async def read_cluster(where: str, namespace: str = "") -> list[dict[str, Any]]:
    """Everything that `analyze` looks at. where: "in-cluster" or a kubeconfig; namespace: "" for all.

    Raises InvalidInput, DependencyUnavailable or DependencyRefused.
    """
    async with connect(where) as server:
        found: list[dict[str, Any]] = []
        for kind, version, api, plural in _AUDITED:
            path = f"{api}/{plural}"
            if namespace:
                own = f"{api}/namespaces/{quote(namespace, safe='')}"
                path = own if kind == "Namespace" else f"{own}/{plural}"
            listed = await _listed(server, path)
            # items of a list do not name their kind
            found += [{"apiVersion": version, "kind": kind, **document} for document in listed]
        return found


async def _listed(server: ApiServer, path: str, **query: str) -> list[dict[str, Any]]:
    return [each async for each in _each(server, path, _PODS_OF_A_PAGE, **query)]


async def _each(server: ApiServer, path: str, limit: str, **query: str) -> AsyncIterator[dict[str, Any]]:
    """All objects of a list, page by page; a single object as a list of one."""
    more: dict[str, str] = {}
    while True:
        answer = await server.get(path, limit=limit, **query, **more)
        if "items" not in answer:
            yield answer
            return
        for item in answer["items"] or []:
            yield item
        token = (answer.get("metadata") or {}).get("continue")
        if not token:
            return
        more = {"continue": str(token)}


class Namespaces:
    """Labels and annotations of namespaces, kept for a few seconds: a Deployment's pods come many at a time."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._kept: dict[str, tuple[float, Namespace]] = {}

    async def __call__(self, name: str) -> Namespace:
        """Without labels for a namespace that is gone. Raises DependencyUnavailable or DependencyRefused."""
        now = time.monotonic()
        until, known = self._kept.get(name, (0.0, Namespace(name=name)))
        if now < until:
            return known
        try:
            found = namespace_of(await self._server.get(f"/api/v1/namespaces/{quote(name, safe='')}"))
        except NotFound:
            return Namespace(name=name)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[name] = (now + _KEPT_SECONDS, found)
        return found


class GuardedPods:
    """The pods of a namespace that have a sidecar."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def __call__(self, namespace: str) -> list[dict[str, Any]]:
        """Raises DependencyError."""
        return await _listed(
            self._server,
            f"/api/v1/namespaces/{quote(namespace, safe='')}/pods",
            labelSelector=f"{names.GUARDED}=true",
        )


class ClusterPolicies:
    """The ModelPolicy objects of a namespace: all that a webhook without a control plane can know of policies."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def __call__(self, namespace: str) -> list[ModelPolicy]:
        """Raises DependencyError. What is not valid does not count as a guard."""
        meshes = await self._meshes()
        own = f"/apis/{API_VERSION}/namespaces/{quote(namespace, safe='')}"
        return await self._read(f"{own}/modelpolicies", lambda each: _parsed(namespace, each, meshes))

    async def _meshes(self) -> list[Mesh]:
        return await self._read(f"/apis/{API_VERSION}/meshpolicies", _mesh)

    async def _read(self, path: str, read: Callable[[dict[str, Any]], T | None]) -> list[T]:
        """What is valid; nothing else is held longer than its page."""
        found: list[T] = []
        try:
            async for each in _each(self._server, path, PAGE):
                valid = await asyncio.to_thread(read, each)
                found += [] if valid is None else [valid]
        except NotFound:
            return []
        return found


def _document(kind: str, metadata: dict[str, str], item: dict[str, Any]) -> Written:
    document = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": item.get("spec")}
    return read_policy(msgspec.json.encode(document))


def _parsed(namespace: str, item: dict[str, Any], meshes: list[Mesh]) -> ModelPolicy | None:
    name = str(item.get("metadata", {}).get("name", ""))
    try:
        written = _document("ModelPolicy", {"name": name, "namespace": namespace}, item)
        return effective_policy(written, meshes).policy
    except InvalidInput:
        log.warning("cluster_policy_invalid", policy=f"{namespace}/{name}")
        return None


def _mesh(item: dict[str, Any]) -> Mesh | None:
    """One that is not valid is not in effect either."""
    name = str(item.get("metadata", {}).get("name", ""))
    try:
        return read_mesh(_document("MeshPolicy", {"name": name}, item))
    except InvalidInput:
        log.warning("cluster_policy_invalid", policy=name)
        return None
