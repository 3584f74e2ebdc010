"""The plainest ext_authz server that one would write in Python: aiohttp, and a look at the API key's hash."""

from __future__ import annotations

import hashlib
import os

from aiohttp import web

KEYS = {hashlib.sha256(os.environ["API_KEY"].encode()).hexdigest(): "acme"}


async def check(request: web.Request) -> web.Response:
    """200 lets the request in; Envoy passes any other answer on."""
    key = hashlib.sha256(request.headers.get("x-api-key", "").encode()).hexdigest()
    tenant = KEYS.get(key)
    if tenant is None:
        return web.Response(status=401)
    return web.Response(headers={"x-tenant": tenant})


def main() -> None:
    """Serve on loopback until killed."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", check)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)


if __name__ == "__main__":
    main()
