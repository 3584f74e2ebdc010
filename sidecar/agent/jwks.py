"""Fetches issuers' keys (JWKS) for the workers: the only place in the pod that follows a URL from a policy.

So it is strict: https, no redirects, the resolved address checked and pinned, private addresses only where the
operator allows them, small and quick answers. What was good last is kept while an issuer is away.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from bartizan.errors import DependencyRefused, DependencyUnavailable
from bartizan.policy.schema import Jwt
from bartizan.telemetry.logging import get_logger

MAX_BYTES = 256 * 1024
MAX_KEYS = 100
TIMEOUT = 2.0
REFRESH = 300.0
RETRY = 5.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Source = tuple[str, str]
log = get_logger()


class _KeysDocument(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


def _source(jwt: Jwt) -> _Source:
    """What is fetched, whatever a policy expects of its tokens."""
    return jwt.issuer, jwt.jwks_uri or ""


class JwksKeeper:
    """Keeps the keys of all wanted issuers fresh. `deliver(issuer, jwks)` hands them to the workers."""

    def __init__(
        self,
        allow: Sequence[str],
        deliver: Callable[[str, dict[str, Any]], None],
        changed: Callable[[], None],
        group: asyncio.TaskGroup,
    ) -> None:
        self._allow = allow
        self._deliver = deliver
        self._changed = changed
        self._group = group
        self._loops: dict[_Source, asyncio.Task[None]] = {}
        self._held: set[str] = set()

    @property
    def held(self) -> frozenset[str]:
        """Issuers whose keys are known."""
        return frozenset(self._held)

    def want(self, issuers: Iterable[Jwt]) -> None:
        """Fetch and refresh these too; the first fetch begins at once."""
        for jwt in issuers:
            if _source(jwt) not in self._loops:
                self._loops[_source(jwt)] = self._group.create_task(self._keep(jwt), name="jwks")

    def keep_only(self, issuers: Iterable[Jwt]) -> None:
        """No longer refresh any other."""
        wanted = {_source(jwt) for jwt in issuers}
        for source in self._loops.keys() - wanted:
            self._loops.pop(source).cancel()

    async def _keep(self, jwt: Jwt) -> None:
        while True:
            try:
                document = await fetch_jwks(jwt, self._allow)
            except (DependencyUnavailable, DependencyRefused) as error:
                log.warning("jwks_not_fetched", issuer=jwt.issuer, reason=str(error))
                pause = RETRY
            else:
                self._held.add(jwt.issuer)
                self._deliver(jwt.issuer, document)
                self._changed()
                pause = REFRESH
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load


async def fetch_jwks(jwt: Jwt, allow: Sequence[str]) -> dict[str, Any]:
    """An issuer's JWK Set. Raises DependencyUnavailable (try later) or DependencyRefused (must not be fetched)."""
    url = jwt.jwks_uri or None
    if url is None:
        raw = await _get(jwt.issuer.rstrip("/") + "/.well-known/openid-configuration", allow)
        try:
            discovered = msgspec.json.decode(raw, type=_Discovery)
        except msgspec.MsgspecError as error:
            raise DependencyUnavailable("discovery document can't be read") from error
        if discovered.issuer != jwt.issuer:
            raise DependencyRefused("discovery document names another issuer")
        url = discovered.jwks_uri
    raw = await _get(url, allow)
    try:
        document = msgspec.json.decode(raw, type=_KeysDocument)
    except msgspec.MsgspecError as error:
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
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False
            ) as session,
            session.get(url, allow_redirects=False, headers={"accept-encoding": "identity"}) as response,
        ):
            if response.status != 200:
                raise DependencyUnavailable(f"HTTP {response.status}")
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
        async with asyncio.timeout(TIMEOUT):
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
    return address.is_global and not address.is_multicast and not address.is_reserved


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
