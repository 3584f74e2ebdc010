"""Fetching JWKS: what may be asked, what is accepted."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from bartizan.errors import BartizanError, DependencyRefused, DependencyUnavailable
from bartizan.policy.schema import Jwt
from sidecar.agent.changes import Changes
from sidecar.agent.jwks import MAX_BYTES, NO_KEYS, JwksKeeper, fetch_jwks, permitted

KEY = {"kty": "EC", "kid": "1", "crv": "P-256", "x": "AA", "y": "AA"}
Serve = Callable[[Any], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(answer: Any) -> str:
        async def handler(_request: web.Request) -> web.Response:
            return answer() if callable(answer) else web.json_response(answer)

        app = web.Application()
        app.router.add_get("/{any:.*}", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def issuer(uri: str) -> Jwt:
    return Jwt(issuer="https://idp.example", audiences=("a",), claims={"tenant": "t"}, jwks_uri=uri)


async def test_public_keys_of_an_allowed_address_are_taken_without_private_parts(serve: Serve) -> None:
    address = await serve({"keys": [{**KEY, "d": "private"}, {"kty": "oct", "k": "shared"}]})
    assert await fetch_jwks(issuer(f"http://{address}/jwks"), (address,)) == {"keys": [KEY]}


async def test_discovery_must_name_the_same_issuer(serve: Serve) -> None:
    address = await serve({"issuer": "https://other.example", "jwks_uri": "https://other.example/jwks"})
    wanted = Jwt(issuer=f"http://{address}", audiences=("a",), claims={"tenant": "t"})
    with pytest.raises(DependencyRefused, match="another issuer"):
        await fetch_jwks(wanted, (address,))


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks",
        "file:///etc/passwd",
        "https://user:word@127.0.0.1/jwks",
        "https://127.0.0.1/jwks",
        "https://[::1]/jwks",
        "https://localhost/jwks",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/jwks",
        "https://[::ffff:127.0.0.1]/jwks",
    ],
)
async def test_plain_http_and_private_addresses_are_refused_without_asking(url: str) -> None:
    with pytest.raises(DependencyRefused):
        await fetch_jwks(issuer(url), ())


def _redirect() -> web.Response:
    return web.Response(status=302, headers={"location": "http://127.0.0.1:1/"})


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_redirect, id="redirect"),
        pytest.param(lambda: web.Response(status=500), id="error"),
        pytest.param(lambda: web.Response(body=b"{" + b" " * MAX_BYTES), id="too large"),
        pytest.param(lambda: web.Response(text="no json"), id="no json"),
        pytest.param(lambda: web.Response(body=b'{"keys": [{"kid": "\xff"}]}'), id="no UTF-8"),
        pytest.param(
            lambda: web.Response(body=b'{"keys": [{"kid": ' + b"[" * 5000 + b"]" * 5000 + b"}]}"),
            id="too deep",
        ),
        pytest.param({"keys": [KEY] * 101}, id="too many keys"),
        pytest.param({"nothing": 1}, id="no keys"),
        pytest.param(
            lambda: web.Response(
                body=gzip.compress(b'{"keys": []}' + b" " * MAX_BYTES), headers={"content-encoding": "gzip"}
            ),
            id="unasked for encoding",
        ),
    ],
)
async def test_bad_answers_are_refused(serve: Serve, answer: Any) -> None:
    address = await serve(answer)
    with pytest.raises(DependencyUnavailable):
        await fetch_jwks(issuer(f"http://{address}/jwks"), (address,))


async def test_nobody_there_is_for_later() -> None:
    with pytest.raises(BartizanError):
        await fetch_jwks(issuer("http://127.0.0.1:1/jwks"), ("127.0.0.1:1",))


@pytest.mark.parametrize(
    ("address", "allow", "expected"),
    [
        ("93.184.216.34", (), True),
        ("2606:4700::1111", (), True),
        ("10.1.2.3", (), False),
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("10.1.2.3", ("fd00::/8", "idp:443"), False),
        ("100.64.0.1", (), False),
        ("169.254.169.254", (), False),
        ("224.0.0.1", (), False),
        ("0.0.0.0", (), False),
        ("fd00::1", (), False),
        ("fe80::1", (), False),
        ("::ffff:10.0.0.1", (), False),
        ("2002:a00:5::1", (), False),
        ("2002:5db8:d822::1", (), False),
        ("2002:5db8:d822::1", ("2002::/16",), True),
        ("2001:0:a00:5::1", (), False),
        ("2001:0:5db8:d822::f5ff:fffa", (), False),
        ("64:ff9b::a00:5", (), False),
        ("64:ff9b::a9fe:a9fe", (), False),
        ("64:ff9b::5db8:d822", (), False),
        ("64:ff9b:1::a00:5", (), False),
        ("192.0.0.9", (), False),
        ("::a00:5", (), False),
    ],
)
def test_which_addresses_may_be_asked(address: str, allow: tuple[str, ...], expected: bool) -> None:
    assert permitted(ipaddress.ip_address(address), allow) is expected


@dataclass
class Keeping:
    """A keeper, with what it delivered last of each issuer."""

    allow: tuple[str, ...]
    group: asyncio.TaskGroup
    max_age: float = 3600.0
    changes: Changes = field(default_factory=Changes)
    delivered: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keeper = JwksKeeper(
            self.allow,
            0.05,
            self.delivered.__setitem__,
            self.changes,
            self.group,
            retry=0.05,
            max_age=self.max_age,
        )

    async def until(self, predicate: Callable[[], bool]) -> None:
        assert await self.changes.until(predicate, 20.0), self.delivered


async def test_a_policy_that_moves_an_issuers_keys_ends_the_old_ones_even_while_the_new_place_is_silent(
    serve: Serve,
) -> None:
    address = await serve({"keys": [KEY]})
    old, new = issuer(f"http://{address}/jwks"), issuer("http://127.0.0.1:1/jwks")
    async with asyncio.TaskGroup() as group:
        stand = Keeping((address, "127.0.0.1:1"), group)
        stand.keeper.want([old])
        await stand.until(lambda: stand.keeper.holds([old]))
        stand.keeper.keep_only([old])
        stand.keeper.want([new])
        assert not stand.keeper.holds([new]), "other keys of the same issuer are not what was asked for"
        assert stand.delivered == {old.issuer: {"keys": [KEY]}}, "the policy in force keeps its keys"
        stand.keeper.keep_only([new])
        assert stand.delivered == {old.issuer: NO_KEYS}
        await asyncio.sleep(0.2)
        assert stand.delivered == {old.issuer: NO_KEYS}, "the old place is not asked any longer"
        stand.keeper.keep_only([])


async def test_keys_of_the_next_policy_are_used_with_it_and_those_of_a_refused_one_never(
    serve: Serve,
) -> None:
    other = {**KEY, "kid": "2"}
    first, second = await serve({"keys": [KEY]}), await serve({"keys": [other]})
    old, new = issuer(f"http://{first}/jwks"), issuer(f"http://{second}/jwks")
    async with asyncio.TaskGroup() as group:
        stand = Keeping((first, second), group)
        stand.keeper.keep_only([old])
        await stand.until(lambda: stand.keeper.holds([old]))
        for _ in range(2):
            stand.keeper.want([new])
            await stand.until(lambda: stand.keeper.holds([new]))
            assert stand.delivered[old.issuer] == {"keys": [KEY]}
            stand.keeper.keep_only([old])
            assert not stand.keeper.holds([new])
        stand.keeper.want([new])
        await stand.until(lambda: stand.keeper.holds([new]))
        stand.keeper.keep_only([new])
        assert stand.delivered[old.issuer] == {"keys": [other]}
        stand.keeper.keep_only([])
        assert stand.delivered[old.issuer] == NO_KEYS


async def test_keys_that_are_too_old_are_dropped_and_come_back_with_the_issuer(serve: Serve) -> None:
    answers = {"good": True}

    def answer() -> web.Response:
        return web.json_response({"keys": [KEY]}) if answers["good"] else web.Response(status=500)

    address = await serve(answer)
    wanted = issuer(f"http://{address}/jwks")
    async with asyncio.TaskGroup() as group:
        stand = Keeping((address,), group, max_age=0.0)
        stand.keeper.keep_only([wanted])
        await stand.until(lambda: stand.keeper.holds([wanted]))
        answers["good"] = False
        await stand.until(lambda: stand.keeper.stale)
        assert stand.delivered[wanted.issuer] == NO_KEYS
        assert not stand.keeper.holds([wanted])
        answers["good"] = True
        await stand.until(lambda: not stand.keeper.stale)
        assert stand.delivered[wanted.issuer] == {"keys": [KEY]}
        stand.keeper.keep_only([])
