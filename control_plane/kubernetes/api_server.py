"""The Kubernetes API server as few calls on plain JSON: the only module that knows kubernetes_asyncio.

Its models and its Watch are not used: models would drop fields that we do not know, and the Watch starts over on its
own, while the reconciler must know when it has missed something.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes_asyncio import client, config

from bartizan.errors import (
    BartizanError,
    Conflict,
    DependencyRefused,
    DependencyUnavailable,
    InvalidInput,
    NotFound,
    Problem,
)
from control_plane.kubernetes.depth import cut
from control_plane.kubernetes.objects import Gone

IN_CLUSTER = "in-cluster"
SECONDS = 10.0
PAGE: Final = "25"
"""Custom resources of one answer: each may have 1.5 MB, and the answer has its time and is held as a whole."""
WATCH_SECONDS = 300
"""After which the API server ends a watch, so that a connection that died unnoticed does not last."""
_LONGEST_LINE = 8 * 1024 * 1024
_DEEPEST = 20_000
"""An API server takes JSON nested 10,000 deep; the decoder's own frames are small."""

Json = dict[str, Any]
T = TypeVar("T")
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class ApiServer:
    """Made by `connect`. Every call raises DependencyUnavailable, DependencyRefused, NotFound, Conflict or Gone."""

    def __init__(self, configured: client.ApiClient) -> None:
        self._client = configured

    async def get(self, path: str, **query: str) -> Json:
        return await self._call("GET", path, Json, query=query)

    async def read(self, path: str, kind: type[T], **query: str) -> T:
        """What is of tenants' own making: `kind` says how little of it is decoded here, as it may be large."""
        return await self._call("GET", path, kind, query=query)

    async def post(self, path: str, body: Json, **query: str) -> Json:
        return await self._call("POST", path, Json, query=query, body=body)

    async def put(self, path: str, body: Json) -> Json:
        return await self._call("PUT", path, Json, body=body)

    async def merge(self, path: str, body: Json) -> msgspec.Raw:
        """JSON merge patch (RFC 7386); the object as it is then, undecoded."""
        media = "application/merge-patch+json"
        return await self._call("PATCH", path, msgspec.Raw, body=body, content_type=media)

    async def delete(self, path: str) -> Json:
        return await self._call("DELETE", path, Json)

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[tuple[str, msgspec.Raw]]:
        """Type and undecoded object of each event after that resource version, bookmarks too; ends when the API server ends
        it.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(connect=SECONDS, sock_read=WATCH_SECONDS + SECONDS)
        try:
            response = await self._send("GET", path, query, None, "application/json", timeout)
            try:
                if response.status != 200:
                    raise _fault(response.status, await response.read(), path)
                async for line in _lines(response):
                    event = decoded(line, _Event)
                    if event.type == "ERROR":
                        raise _status(decoded(event.object, Json), path)
                    yield event.type, event.object
            finally:
                response.close()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DependencyUnavailable(f"the Kubernetes API server: {type(error).__name__}") from error
        except UNREADABLE as error:
            raise DependencyUnavailable(
                "the Kubernetes API server sent an event that can't be read"
            ) from error

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> T:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            response = await self._send(method, path, query or {}, body, content_type, timeout)
            raw = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DependencyUnavailable(f"the Kubernetes API server: {type(error).__name__}") from error
        if not 200 <= response.status <= 299:
            raise _fault(response.status, raw, path)
        try:
            return decoded(raw, kind)
        except UNREADABLE as error:
            raise DependencyUnavailable("the Kubernetes API server's answer can't be read") from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        # A cluster's token keys come only as a type of their own.
        accept = "application/json, application/jwk-set+json"
        headers = {"Accept": accept, "Content-Type": content_type}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        url = f"{self._client.configuration.host}{path}{'?' + urlencode(query) if query else ''}"
        answer: aiohttp.ClientResponse = await self._client.rest_client.request(
            method, url, headers=headers, body=body, _preload_content=False, _request_timeout=timeout
        )
        return answer


@asynccontextmanager
async def connect(where: str) -> AsyncIterator[ApiServer]:
    """where: "in-cluster" or the path of a kubeconfig. Raises InvalidInput when that can't be used."""
    configuration = client.Configuration()
    try:
        if where == IN_CLUSTER:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(
                config_file=where, client_configuration=configuration, persist_config=False
            )
    except (config.ConfigException, OSError, ValueError) as error:
        problem = Problem(
            path="BARTIZAN_CP_KUBERNETES",
            code="invalid_setting",
            message=f"no way to the API server: {error}",
            hint='"in-cluster" in a pod with a service account, else the path of a kubeconfig',
        )
        raise InvalidInput(
            "the Kubernetes API server can't be reached with these settings", [problem]
        ) from error
    configured = client.ApiClient(configuration)
    try:
        yield ApiServer(configured)
    finally:
        await configured.close()


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any sensible length; the reader's own readline stops at its buffer's size."""
    held = bytearray()
    async for piece in response.content.iter_any():
        held += piece
        *whole, rest = held.split(b"\n")
        for line in whole:
            if line.strip():
                yield bytes(line)
        held = bytearray(rest)
        if len(held) > _LONGEST_LINE:
            raise DependencyUnavailable("the Kubernetes API server sent an event of more than 8 MiB")


def decoded(raw: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Raises one of UNREADABLE."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(_DEEPEST)
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:  # Python 3.12 and later, whose limit for C is its own
        return msgspec.json.decode(cut(bytes(raw)), type=kind)
    finally:
        sys.setrecursionlimit(usual)


def _fault(status: int, raw: bytes, path: str) -> BartizanError:
    try:
        said = decoded(raw, Json)
    except UNREADABLE:
        said = {}
    return _status({"code": status, **said}, path)


def _status(said: Json, path: str) -> BartizanError:
    """A metav1.Status as one of our errors. Its message names objects, never their content."""
    code, message = said.get("code", 0), str(said.get("message", ""))[:500]
    match code:
        case 404:
            return NotFound(f"{path}: {message or 'not found'}")
        case 409:
            return Conflict(f"{path}: {message or 'conflict'}")
        case 410:
            return Gone(message)
        case 429 | 500 | 502 | 503 | 504:
            return DependencyUnavailable(f"the Kubernetes API server answered {code}: {message}")
        case _:
            return DependencyRefused(f"the Kubernetes API server answered {code}: {message}")
