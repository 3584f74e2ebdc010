"""Fetches issuers' keys (JWKS) for the workers: the only place in the pod that follows a URL from a policy.

So it is strict: https, no redirects, the resolved address checked and pinned, private addresses only where the
operator allows them, small and quick answers. What was good last is kept for a day while an issuer is away.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bartizan import tasks
from bartizan.errors import DependencyRefused, DependencyUnavailable
from bartizan.policy.schema import Jwt
from bartizan.telemetry.logging import get_logger
from sidecar.agent.changes import Changes
from sidecar.agent.lean_aiohttp import AbstractResolver, ResolveResult, aiohttp, authorities

MAX_BYTES = 256 * 1024
MAX_KEYS = 100
TIMEOUT = 2.0
RETRY = 5.0
MAX_AGE = 24 * 3600.0
"""An issuer revokes a key by leaving it out: keys that could not be asked for so long (seconds) are not believed."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Source = tuple[str, str]
_NONE: _Source = ("", "")
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "2001::/23", "2002::/16")))
"""Which of IANA's special-purpose addresses `is_global` calls public changed with Python's patch releases: the same here
everywhere. The last two hold Teredo and 6to4, tunnels to any IPv4 address, private ones, too."""
NO_KEYS: dict[str, Any] = {"keys": []}
log = get_logger()


class _KeysDocument(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


def _source(jwt: Jwt) -> _Source:
    """What is fetched, whatever a policy expects of its tokens."""
    return jwt.issuer, jwt.jwks_uri or ""


def _sources(issuers: Iterable[Jwt]) -> dict[str, _Source]:
    """By issuer; of two entries for one the later counts, as where tokens are checked."""
    return {jwt.issuer: _source(jwt) for jwt in issuers}


class JwksKeeper:
    """Keeps the keys of all wanted sources fresh. `deliver(issuer, jwks)` hands an issuer's to the workers and to Envoy.

    Workers know keys by issuer alone, so of an issuer only one source is in use: that of the policy in force. What
    the next policy names is fetched beside it and delivered when that policy is in force (`keep_only`).
    """

    def __init__(
        self,
        allow: Sequence[str],
        refresh: float,
        deliver: Callable[[str, dict[str, Any]], None],
        changes: Changes,
        group: asyncio.TaskGroup,
        *,
        retry: float = RETRY,
        max_age: float = MAX_AGE,
    ) -> None:
        self._allow = allow
        self._deliver = deliver
        self._changes = changes
        self._group = group
        self._refresh = refresh
        self._retry = retry
        self._max_age = max_age
        self._loops: dict[_Source, asyncio.Task[None]] = {}
        self._held: dict[_Source, dict[str, Any]] = {}
        self._in_use: dict[str, _Source] = {}
        self._stale: set[_Source] = set()

    def holds(self, issuers: Iterable[Jwt]) -> bool:
        """Whether the keys of all these are known, each from the source that it names."""
        return set(_sources(issuers).values()) <= self._held.keys()

    @property
    def stale(self) -> bool:
        """Some issuer could not be asked for so long that its keys were dropped."""
        return bool(self._stale)

    def want(self, issuers: Iterable[Jwt]) -> None:
        """Fetch and refresh these too; the first fetch begins at once."""
        for jwt in issuers:
            source = _source(jwt)
            self._in_use.setdefault(jwt.issuer, source)
            if source not in self._loops:
                self._loops[source] = self._group.create_task(self._keep(jwt), name="jwks")

    def keep_only(self, issuers: Iterable[Jwt]) -> None:
        """These are in force: no other is refreshed or believed any longer."""
        issuers = tuple(issuers)
        self.want(issuers)
        wanted = _sources(issuers)
        for source in self._loops.keys() - wanted.values():
            self._loops.pop(source).cancel()
            self._held.pop(source, None)
            self._stale.discard(source)
        before, self._in_use = self._in_use, wanted
        for issuer in before.keys() | wanted.keys():
            if before.get(issuer) != wanted.get(issuer):
                self._deliver(issuer, self._held.get(wanted.get(issuer, _NONE), NO_KEYS))

    async def _keep(self, jwt: Jwt) -> None:
        source = _source(jwt)
        fetched_at = time.monotonic()
        while True:
            try:
                document = await fetch_jwks(jwt, self._allow)
            except (DependencyUnavailable, DependencyRefused) as error:
                log.warning("jwks_not_fetched", issuer=jwt.issuer, reason=str(error))
                if source in self._held and time.monotonic() - fetched_at > self._max_age:
                    log.error("jwks_dropped", issuer=jwt.issuer)
                    self._stale.add(source)
                    self._take(source, None)
                pause = self._retry
            else:
                fetched_at = time.monotonic()
                self._stale.discard(source)
                self._take(source, document)
                pause = self._refresh
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load

    def _take(self, source: _Source, document: dict[str, Any] | None) -> None:
        if document is None:
            self._held.pop(source, None)
        else:
            self._held[source] = document
        issuer = source[0]
        if self._in_use.get(issuer) == source:
            self._deliver(issuer, document or NO_KEYS)
        self._changes.notify()


async def fetch_jwks(jwt: Jwt, allow: Sequence[str]) -> dict[str, Any]:
    """An issuer's JWK Set. Raises DependencyUnavailable (try later) or DependencyRefused (must not be fetched)."""
    url = jwt.jwks_uri or None
    if url is None:
        raw = await _get(jwt.issuer.rstrip("/") + "/.well-known/openid-configuration", allow)
        try:
            discovered = msgspec.json.decode(raw, type=_Discovery)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DependencyUnavailable("discovery document can't be read") from error
        if discovered.issuer != jwt.issuer:
            raise DependencyRefused("discovery document names another issuer")
        url = discovered.jwks_uri
    raw = await _get(url, allow)
    try:
        document = msgspec.json.decode(raw, type=_KeysDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DependencyUnavailable("JWKS can't be read") from error
    if len(document.keys) > MAX_KEYS:
        raise DependencyUnavailable(f"more than {MAX_KEYS} keys")
    # symmetric and private members have no business here and must not travel further
    public = [
        {
            name: value
            for name, value in key.items()
            if name not in {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
        }
        for key in document.keys
        if key.get("kty") in {"RSA", "EC", "OKP"}
    ]
    return {"keys": public}


async def _get(url: str, allow: Sequence[str]) -> bytes:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise DependencyRefused("not an address") from error
    named = f"{host}:{port}" in allow
    if parts.scheme != "https" and not (parts.scheme == "http" and named):
        raise DependencyRefused("only https is fetched")
    if parts.username or parts.password or not host:
        raise DependencyRefused("an address with credentials or without host is not fetched")
    addresses = await _resolve(host, port)
    if not named:
        for address in addresses:
            if not permitted(address, allow):
                raise DependencyRefused("the address is private and BARTIZAN_JWKS_ALLOW does not name it")
    connector = aiohttp.TCPConnector(resolver=_Pinned(addresses), force_close=True)
    try:
        trusted = await asyncio.to_thread(authorities)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                trust_env=False,
                auto_decompress=False,
            ) as session,
            session.get(
                url, ssl=trusted, allow_redirects=False, headers={"accept-encoding": "identity"}
            ) as response,
        ):
            if response.status != 200:
                raise DependencyUnavailable(f"HTTP {response.status}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise DependencyUnavailable("an encoded answer, though identity was asked for")
            body = await _bounded(response.content)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DependencyUnavailable(type(error).__name__) from error
    return body


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in stream.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise DependencyUnavailable(f"more than {MAX_BYTES} bytes")
    return bytes(body)


async def _resolve(host: str, port: int) -> tuple[Address, ...]:
    try:
        async with tasks.timeout(TIMEOUT):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise DependencyUnavailable("the name can't be resolved") from error
    return tuple(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


def permitted(address: Address, allow: Sequence[str]) -> bool:
    """Whether an issuer may be fetched from this address: a public one, or one in a CIDR that the operator allows."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return permitted(address.ipv4_mapped, allow)
    networks = [ipaddress.ip_network(entry) for entry in allow if "/" in entry]
    if any(address.version == network.version and address in network for network in networks):
        return True
    special = any(address.version == network.version and address in network for network in _SPECIAL)
    return address.is_global and not address.is_multicast and not address.is_reserved and not special


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, whatever the name means by now."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
            if family in {socket.AF_UNSPEC, socket.AF_INET if address.version == 4 else socket.AF_INET6}
        ]

    async def close(self) -> None:
        """Nothing is open."""
