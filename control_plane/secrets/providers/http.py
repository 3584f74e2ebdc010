"""A provider over HTTP or a unix socket, described by HttpProvider of definition.py."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import aiohttp
import msgspec

from control_plane.secrets.definition import HttpProvider
from control_plane.secrets.providers.base import ProviderKey, ProviderRefused, ProviderUnavailable

_MOST_BYTES = 1024 * 1024


class _Created(msgspec.Struct):
    id: str
    key: str


class _Listed(msgspec.Struct):
    id: str
    name: str


class Http:
    """Calls are rare (a few per rotation): each opens its own connection and leaves nothing behind."""

    def __init__(
        self, settings: HttpProvider, headers: Mapping[str, str] | None = None, *, deadline: float = 2.0
    ) -> None:
        """`headers` are what `settings.headers_path` holds; they are secret."""
        self._settings = settings
        self._headers = dict(headers or {})
        self._deadline = deadline

    async def create(self, name: str) -> ProviderKey:
        status, body = await self._ask("POST", self._settings.create, body={"name": name})
        _expect(status, "create a key")
        try:
            made = msgspec.json.decode(body, type=_Created)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ProviderRefused("the provider's answer to create has no id and key") from None
        return ProviderKey(id=made.id, key=made.key)

    async def names(self) -> Mapping[str, str]:
        status, body = await self._ask("GET", self._settings.list)
        _expect(status, "list keys")
        try:
            return {each.id: each.name for each in msgspec.json.decode(body, type=list[_Listed])}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ProviderRefused("the provider's list is not [{id, name}]") from None

    async def revoke(self, key_id: str) -> None:
        status, _ = await self._ask("DELETE", self._settings.revoke.replace("{id}", quote(key_id, safe="")))
        if status not in {404, 410}:
            _expect(status, "revoke a key")

    async def accepts(self, key: str) -> bool:
        status, _ = await self._ask("GET", self._settings.verify, headers={self._settings.key_header: key})
        if status in {401, 403}:
            return False
        if 200 <= status < 300:
            return True
        raise ProviderUnavailable(f"the verifier answered {status} instead of a verdict")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        connector = aiohttp.UnixConnector(self._settings.socket) if self._settings.socket else None
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector, timeout=aiohttp.ClientTimeout(total=self._deadline)
                ) as session,
                session.request(
                    method,
                    self._settings.url.rstrip("/") + path,
                    json=body,
                    headers={**self._headers, **(headers or {})},
                    allow_redirects=False,
                ) as answer,
            ):
                return answer.status, await _whole(answer.content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            raise ProviderUnavailable(f"the provider did not answer {method}") from None


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """To its end: one read gives only what has arrived. Raises ProviderRefused when it is too long."""
    got = bytearray()
    async for piece in content.iter_any():
        got += piece
        if len(got) > _MOST_BYTES:
            raise ProviderRefused(f"the provider's answer is longer than {_MOST_BYTES} bytes")
    return bytes(got)


def _expect(status: int, act: str) -> None:
    if 200 <= status < 300:
        return
    if status == 429 or status >= 500:
        raise ProviderUnavailable(f"the provider answered {status} when asked to {act}")
    raise ProviderRefused(f"the provider answered {status} when asked to {act}")
