"""A Kubernetes API server of a few routes over real HTTP, kept in memory: objects, watches, leases, token reviews.

For tests of what must be caused and can't be on a real one (a watch that broke, a version that is too old). The real
kube-apiserver is in tests/k8s.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from bartizan.local.processes import free_port

POLICIES = "/apis/bartizan.dev/v1alpha1/modelpolicies"
MESH_POLICIES = "/apis/bartizan.dev/v1alpha1/meshpolicies"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/bartizan-system/leases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, as authorization sees it; raw: the path before any decoding."""

    method: str
    path: str
    watch: bool
    raw: str


class ApiServerStand:
    """`url` serves; `put`, `delete` and the like are what kubectl would do."""

    def __init__(self) -> None:
        self.port = free_port()
        self.objects: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.oldest = 0
        self.lists = 0
        self.watches = 0
        self.reviews: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, Any] = {"keys": []}
        self.down = False
        self.asked: list[Asked] = []
        self.conflicts = 0
        """As many writes come too late: somebody else wrote in the moment before."""
        self.refused_status: set[str] = set()
        """Names of policies whose status the server does not take."""
        self.broken: set[str] = set()
        """Namespaces in which a webhook of somebody else fails every write."""
        self.status_writes = 0
        self.late = 0.0
        """Seconds after which a write that is done is answered."""
        self.verbatim: dict[str, str] = {}
        """Texts in place of which JSON is sent that Python itself would not write."""
        self._numbers = itertools.count(1)
        self._now = 0
        self._bell = asyncio.Event()
        self._cut = asyncio.Event()

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create or replace; a changed spec is a new generation, as for custom resources."""
        old = self.objects.get(path)
        metadata = {**body.get("metadata", {})}
        before = old["metadata"] if old else {}
        changed = old is None or old.get("spec") != body.get("spec")
        metadata["uid"] = metadata.get("uid") or before.get("uid") or f"uid-{next(self._numbers)}"
        metadata["generation"] = before.get("generation", 0) + int(changed)
        made = {**body, "metadata": metadata}
        self._say("MODIFIED" if old else "ADDED", path, made)
        return made

    def policy(self, name: str, spec: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
        path = policy_path(name, namespace)
        body = {
            "apiVersion": "bartizan.dev/v1alpha1",
            "kind": "ModelPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        return self.put(path, {**body, "status": self.objects.get(path, {}).get("status", {})})

    def mesh(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        path = f"{MESH_POLICIES}/{name}"
        head = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": name}}
        return self.put(path, {**head, "spec": spec, "status": self.objects.get(path, {}).get("status", {})})

    def delete(self, path: str) -> None:
        gone = self.objects.pop(path)
        self._say("DELETED", path, gone)

    def status(self, name: str, namespace: str = "default") -> dict[str, Any]:
        status: dict[str, Any] = self.objects.get(policy_path(name, namespace), {}).get("status", {})
        return status

    def forget_history(self) -> None:
        """Watches end, and no version up to now can be gone on from: 410."""
        self.oldest = self._now + 1
        self.cut()

    def cut(self) -> None:
        """Every watch breaks, as when a proxy drops connections."""
        self._cut.set()
        self._cut = asyncio.Event()

    def _written(self, value: Any) -> str:
        made = json.dumps(value)
        for text, sent in self.verbatim.items():
            made = made.replace(f'"{text}"', sent)
        return made

    def _say(self, kind: str, path: str, made: dict[str, Any]) -> None:
        self._now += 1
        made["metadata"]["resourceVersion"] = str(self._now)
        if kind != "DELETED":
            self.objects[path] = made
        if "policies/" in path:
            self.events.append((self._now, kind, json.loads(json.dumps(made))))
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return _status(503, "down")
        path = request.path
        self.asked.append(
            Asked(method=request.method, path=path, watch="watch" in request.query, raw=request.raw_path)
        )
        if path.endswith("/tokenreviews"):
            token = (await request.json())["spec"]["token"]
            return web.json_response(
                {"status": self.reviews.get(token, {"authenticated": False})}, status=201
            )
        if path == "/openid/v1/jwks":
            return web.json_response(self.keys)
        if path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": "https://cluster.example"})
        if path in {POLICIES, MESH_POLICIES}:
            plural = path.rpartition("/")[2]
            return await self._watch(request, plural) if "watch" in request.query else self._list(plural)
        if request.method == "GET" and is_collection(path):
            return self._collection(request, path)
        return await self._one(request, path)

    def _collection(self, request: web.Request, path: str) -> web.Response:
        wanted = dict(
            each.split("=") for each in request.query.get("labelSelector", "").split(",") if "=" in each
        )
        items = [
            one
            for name, one in sorted(self.objects.items())
            if name.rpartition("/")[0] == path and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        return web.json_response({"metadata": {"resourceVersion": str(self._now)}, "items": items})

    async def _one(self, request: web.Request, path: str) -> web.Response:
        if request.method != "GET" and any(f"/namespaces/{each}/" in path for each in self.broken):
            return _status(500, "failed calling webhook")
        answer = await self._done(request, path)
        if request.method != "GET":
            await asyncio.sleep(self.late)
        return answer

    async def _done(self, request: web.Request, path: str) -> web.Response:
        if request.method == "POST":
            body = await request.json()
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return _status(409, "exists")
            return web.json_response(self.put(path, body), status=201)
        target = path.removesuffix("/status")
        found = self.objects.get(target)
        if found is None:
            return _status(404, "not found")
        if request.method == "GET":
            return web.json_response(found)
        body = await request.json()
        if request.method in {"PUT", "PATCH"} and self.conflicts:
            self.conflicts -= 1
            self._say("MODIFIED", target, {**found, "metadata": {**found["metadata"]}})
            return _status(409, "the object has been modified")
        if request.method == "PUT":
            if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                return _status(409, "the object has been modified")
            return web.json_response(self.put(target, body))
        assert request.method == "PATCH"
        if not path.endswith("/status"):
            data = {**found.get("data", {}), **body["data"]}
            data = {key: value for key, value in data.items() if value is not None}
            return web.json_response(self.put(target, {**found, "data": data}))
        if found["metadata"]["name"] in self.refused_status:
            return _status(403, "no status of this one")
        self.status_writes += 1
        status = {**found.get("status", {}), **body["status"]}
        status = {name: value for name, value in status.items() if value is not None}
        made = {**found, "status": status, "metadata": {**found["metadata"]}}
        if status != found.get("status", {}):
            self._say("MODIFIED", target, made)
        return web.json_response(self.objects[target], dumps=self._written)

    def _list(self, plural: str) -> web.Response:
        self.lists += 1
        items = [one for path, one in sorted(self.objects.items()) if f"/{plural}/" in path]
        return web.json_response(
            {"metadata": {"resourceVersion": str(self._now)}, "items": items}, dumps=self._written
        )

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        kind_of = {"modelpolicies": "ModelPolicy", "meshpolicies": "MeshPolicy"}[plural]
        self.watches += 1
        since = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if since < self.oldest:
            error = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
            await response.write(json.dumps(error).encode() + b"\n")
            return response
        cut, sent = self._cut, since
        while not cut.is_set():
            bell = self._bell
            for number, kind, item in list(self.events):
                if number > sent and item["kind"] == kind_of:
                    await response.write(self._written({"type": kind, "object": item}).encode() + b"\n")
                    sent = number
            waits = [asyncio.ensure_future(bell.wait()), asyncio.ensure_future(cut.wait())]  # noqa: TID251
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
        assert request.transport is not None
        request.transport.abort()
        return response


def is_collection(path: str) -> bool:
    """Whether a path names all objects of a kind: /api/v1[/namespaces/N]/KIND, with /apis/GROUP/VERSION the same."""
    parts = path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]
    return len(parts) == 1 or (len(parts) == 3 and parts[0] == "namespaces")


def policy_path(name: str, namespace: str = "default") -> str:
    return f"/apis/bartizan.dev/v1alpha1/namespaces/{namespace}/modelpolicies/{name}"


def pod_path(name: str, namespace: str = "default") -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


def write_kubeconfig(path: Path, url: str, **user: str) -> Path:
    """A kubeconfig (JSON is YAML)."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(document))
    return path


@asynccontextmanager
async def api_server_stand() -> AsyncIterator[ApiServerStand]:
    made = ApiServerStand()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    try:
        yield made
    finally:
        made.cut()
        await runner.cleanup()
