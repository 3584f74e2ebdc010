"""Fetching JWKS: what may be asked, what is accepted."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from bartizan.errors import BartizanError, DependencyRefused, DependencyUnavailable
from bartizan.policy.schema import Jwt
from sidecar.agent.jwks import MAX_BYTES, fetch_jwks, permitted

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
        pytest.param({"keys": [KEY] * 101}, id="too many keys"),
        pytest.param({"nothing": 1}, id="no keys"),
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
    ],
)
def test_which_addresses_may_be_asked(address: str, allow: tuple[str, ...], expected: bool) -> None:
    assert permitted(ipaddress.ip_address(address), allow) is expected
